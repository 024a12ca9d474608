//! The file door. Each test runs on the real disk and, where the simulator is built in, on a
//! simulated one: both behave alike.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::fs::{self, EntryKind, FILE_BYTES_MAX, File};
use crate::net::UnixListener;
use crate::tests::patiently;

/// A folder that is gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fiber-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a test in an empty folder of each kind of disk.
#[track_caller]
fn on_both_disks(name: &str, test: fn(&Path)) {
    let folder = Folder::new(name);
    let path = folder.0.clone();
    patiently(move || test(&path));
    #[cfg(feature = "sim")]
    for seed in 0..20 {
        let in_world = move |_: &crate::sim::World| {
            let path = Path::new("/var/lib/program");
            fs::create_dir_all(path).unwrap();
            test(path);
        };
        if let Err(failure) = crate::sim::SimBuilder::new(seed).run(in_world) {
            panic!("in the simulator: {failure}");
        }
    }
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_file_is_written_and_read_in_places() {
    on_both_disks("places", |root| {
        assert_eq!(kind(File::open(root.join("log"))), ErrorKind::NotFound);
        let file = File::create(root.join("log")).unwrap();
        assert_eq!(file.append(*b"hello ").unwrap(), 0);
        assert_eq!(file.append(*b"world").unwrap(), 6);
        assert_eq!(file.read_at(4, 3).unwrap(), b"o w");
        assert_eq!(file.read_at(9, 100).unwrap(), b"ld");
        assert_eq!(file.read_at(100, 1).unwrap(), b"");
        let huge = file.read_at(0, usize::try_from(FILE_BYTES_MAX).unwrap() + 1);
        assert_eq!(kind(huge), ErrorKind::FileTooLarge);
        file.write_at(2, *b"LLO W").unwrap();
        assert_eq!(fs::read(root.join("log")).unwrap(), b"heLLO World");
        file.write_at(13, *b"!").unwrap();
        assert_eq!(file.read_at(9, 9).unwrap(), b"ld\0\0!");
        file.set_size(5).unwrap();
        assert_eq!(file.size().unwrap(), 5);
        file.set_size(7).unwrap();
        assert_eq!(file.read_at(0, 10).unwrap(), b"heLLO\0\0");
        file.sync().unwrap();
        file.sync_all().unwrap();
        // What is in a file stays when it is opened to be made.
        let again = File::create(root.join("log")).unwrap();
        assert_eq!(again.size().unwrap(), 7);
        assert_eq!(fs::permissions(root.join("log")).unwrap(), 0o600);
    });
}

#[test]
fn names_are_made_listed_renamed_and_removed() {
    on_both_disks("names", |root| {
        fs::create_dir(root.join("state")).unwrap();
        assert_eq!(fs::permissions(root.join("state")).unwrap(), 0o700);
        File::create(root.join("b")).unwrap();
        File::create(root.join("a")).unwrap().append(*b"a").unwrap();
        assert_eq!(fs::list(root).unwrap(), ["a", "b", "state"]);
        fs::rename(root.join("a"), root.join("b")).unwrap();
        fs::sync_dir(root).unwrap();
        assert_eq!(fs::read(root.join("b")).unwrap(), b"a");
        fs::rename(root.join("b"), root.join("state/c")).unwrap();
        assert_eq!(fs::read(root.join("state/../state/./c")).unwrap(), b"a");
        fs::rename(root.join("state"), root.join("other")).unwrap();
        assert_eq!(fs::list(root).unwrap(), ["other"]);
        assert_eq!(fs::list(root.join("other")).unwrap(), ["c"]);
        fs::remove(root.join("other/c")).unwrap();
        fs::remove_dir(root.join("other")).unwrap();
        assert!(fs::list(root).unwrap().is_empty());
        assert_eq!(kind(fs::remove(root.join("b"))), ErrorKind::NotFound);
    });
}

#[test]
fn folders_are_made_with_those_above_them() {
    on_both_disks("above", |root| {
        let deep = root.join("a/b/c");
        assert_eq!(kind(fs::create_dir(&deep)), ErrorKind::NotFound);
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(fs::permissions(root.join("a")).unwrap(), 0o700);
        assert_eq!(kind(fs::create_dir(&deep)), ErrorKind::AlreadyExists);
        File::create(root.join("file")).unwrap();
        assert!(fs::create_dir_all(root.join("file/below")).is_err());
        assert_eq!(
            kind(fs::create_dir_all(root.join("file"))),
            ErrorKind::AlreadyExists
        );
    });
}

#[test]
fn a_folder_is_no_file_and_a_file_no_folder() {
    on_both_disks("kinds", |root| {
        fs::create_dir_all(root.join("dir/inner")).unwrap();
        let dir = root.join("dir");
        File::create(root.join("file")).unwrap();
        let file = root.join("file");
        let is_dir = ErrorKind::IsADirectory;
        assert_eq!(kind(File::open(&dir)), is_dir);
        assert_eq!(kind(File::create(&dir)), is_dir);
        assert_eq!(kind(fs::read(&dir)), is_dir);
        assert_eq!(kind(fs::remove(&dir)), is_dir);
        assert_eq!(kind(fs::rename(&file, &dir)), is_dir);
        let no_dir = ErrorKind::NotADirectory;
        assert_eq!(kind(File::create(file.join("x"))), no_dir);
        assert_eq!(kind(fs::read(file.join("x"))), no_dir);
        assert_eq!(kind(fs::list(&file)), no_dir);
        assert_eq!(kind(fs::remove_dir(&file)), no_dir);
        assert_eq!(kind(fs::rename(&dir, &file)), no_dir);
        assert_eq!(kind(fs::remove_dir(&dir)), ErrorKind::DirectoryNotEmpty);
        assert_eq!(
            kind(fs::rename(&dir, dir.join("inner/itself"))),
            ErrorKind::InvalidInput
        );
        fs::create_dir_all(root.join("full/inner")).unwrap();
        let onto = fs::rename(&dir, root.join("full"));
        assert_eq!(kind(onto), ErrorKind::DirectoryNotEmpty);
        fs::rename(&dir, root.join("full/inner")).unwrap();
        assert_eq!(fs::list(root.join("full/inner")).unwrap(), ["inner"]);
        // Nothing was changed by what failed.
        assert_eq!(fs::list(root).unwrap(), ["file", "full"]);
    });
}

#[test]
fn a_pipe_or_a_device_in_the_place_of_a_file_holds_nobody_up() {
    let folder = Folder::new("pipes");
    let root = folder.0.clone();
    patiently(move || {
        // Nobody writes to it. Made without a process, which would hold the locks of other tests.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(writer);
        let pipe = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        let refused = fs::read(&pipe).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(refused.to_string(), "expected a regular file, found a pipe");
        assert_eq!(kind(File::open(&pipe)), ErrorKind::InvalidInput);
        assert_eq!(kind(File::create(&pipe)), ErrorKind::InvalidInput);
        assert!(fs::sync_dir(&pipe).is_err());
        let device = fs::read("/dev/zero").unwrap_err();
        assert_eq!(
            device.to_string(),
            "expected a regular file, found a device"
        );
        // The files' thread is there for others.
        let file = File::create(root.join("file")).unwrap();
        file.append(*b"kept").unwrap();
        assert_eq!(fs::read(root.join("file")).unwrap(), b"kept");
        // A file of the kernel's is a regular one.
        assert!(!fs::read("/proc/self/status").unwrap().is_empty());
    });
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    on_both_disks("long", |root| {
        let path = root.join("key");
        File::create(&path).unwrap().append(*b"12345").unwrap();
        assert_eq!(fs::read_at_most(&path, 5).unwrap(), b"12345");
        assert_eq!(kind(fs::read_at_most(&path, 4)), ErrorKind::FileTooLarge);
        assert_eq!(kind(fs::read_at_most(&path, 0)), ErrorKind::FileTooLarge);
    });
}

#[test]
fn a_new_file_takes_the_place_of_nothing() {
    on_both_disks("new", |root| {
        let path = root.join("key");
        let made = File::create_new(&path).unwrap();
        made.write_at(0, *b"one").unwrap();
        assert_eq!(kind(File::create_new(&path)), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        let folder = root.join("folder");
        fs::create_dir(&folder).unwrap();
        assert_eq!(kind(File::create_new(&folder)), ErrorKind::AlreadyExists);
        let (file, folder) = (fs::entry(&path).unwrap(), fs::entry(&folder).unwrap());
        assert_eq!((file.kind, file.mode), (EntryKind::File, 0o600));
        assert_eq!((folder.kind, folder.mode), (EntryKind::Folder, 0o700));
        assert_eq!(kind(fs::entry(root.join("gone"))), ErrorKind::NotFound);
    });
}

#[test]
#[cfg_attr(miri, ignore = "makes links")]
fn a_link_is_told_from_what_it_points_to() {
    let folder = Folder::new("links-told");
    let root = folder.0.clone();
    patiently(move || {
        File::create(root.join("there")).unwrap();
        for (name, to) in [("good", "there"), ("broken", "gone")] {
            std::os::unix::fs::symlink(root.join(to), root.join(name)).unwrap();
            let found = fs::entry(root.join(name)).unwrap();
            assert_eq!(found.kind, EntryKind::Link, "{name}");
            assert!(found.owner.is_some());
            let made = File::create_new(root.join(name));
            assert_eq!(kind(made), ErrorKind::AlreadyExists, "{name}");
        }
        assert_eq!(kind(fs::entry(root.join("gone"))), ErrorKind::NotFound);
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    on_both_disks("missing", |root| {
        let gone = root.join("gone");
        let missing = ErrorKind::NotFound;
        assert_eq!(kind(fs::read(&gone)), missing);
        assert_eq!(kind(fs::permissions(&gone)), missing);
        assert_eq!(kind(fs::rename(&gone, root.join("x"))), missing);
        assert_eq!(kind(fs::remove(&gone)), missing);
        assert_eq!(kind(fs::remove_dir(&gone)), missing);
        assert_eq!(kind(fs::list(&gone)), missing);
        assert_eq!(kind(fs::sync_dir(&gone)), missing);
        assert_eq!(kind(fs::free_space(&gone)), missing);
        assert_eq!(kind(File::create(gone.join("x"))), missing);
        File::create(root.join("file")).unwrap();
        assert_eq!(kind(fs::rename(root.join("file"), gone.join("x"))), missing);
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    on_both_disks("unnamed", |root| {
        let file = File::create(root.join("log")).unwrap();
        file.append(*b"first").unwrap();
        fs::remove(root.join("log")).unwrap();
        file.append(*b" second").unwrap();
        let other = File::create(root.join("log")).unwrap();
        other.append(*b"other").unwrap();
        assert_eq!(file.read_at(0, 20).unwrap(), b"first second");
        fs::rename(root.join("log"), root.join("moved")).unwrap();
        other.append(*b"!").unwrap();
        assert_eq!(fs::read(root.join("moved")).unwrap(), b"other!");
    });
}

#[test]
fn a_lock_is_one_holders_until_that_lets_go() {
    on_both_disks("lock", |root| {
        let one = File::create(root.join("lock")).unwrap();
        let other = File::create(root.join("lock")).unwrap();
        let third = File::create(root.join("another")).unwrap();
        assert!(one.try_lock().unwrap());
        assert!(one.try_lock().unwrap());
        assert!(!other.try_lock().unwrap());
        assert!(third.try_lock().unwrap());
        other.append(*b"it is advice").unwrap();
        drop(one);
        assert!(other.try_lock().unwrap());
    });
}

#[test]
fn there_is_room_on_a_disk() {
    on_both_disks("room", |root| {
        let room = fs::free_space(root).unwrap();
        assert!(room > 4096, "{room} bytes are left");
        assert!(fs::free_space(root).is_ok());
    });
}

#[test]
fn the_place_of_a_unix_listener_is_a_name_among_others() {
    on_both_disks("socket", |root| {
        let listener = UnixListener::bind(root.join("socket")).unwrap();
        assert_eq!(fs::list(root).unwrap(), ["socket"]);
        let opened = File::open(root.join("socket")).unwrap_err();
        assert_eq!(opened.raw_os_error(), Some(libc::ENXIO));
        drop(listener);
        assert_eq!(
            kind(UnixListener::bind(root.join("socket"))),
            ErrorKind::AddrInUse
        );
        fs::remove(root.join("socket")).unwrap();
        UnixListener::bind(root.join("socket")).unwrap();
        assert_eq!(
            kind(UnixListener::bind(root.join("none/socket"))),
            ErrorKind::NotFound
        );
    });
}
