//! How errors are printed for whoever writes the program.

/// `Debug` as the text: a program whose `main` returns the error says what it means, and one enum less
/// is printed by its variants, which with all that they hold is kilobytes of code.
macro_rules! debug_is_text {
    ($($error:ty),+ $(,)?) => {
        $(impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        })+
    };
}

pub(crate) use debug_is_text;
