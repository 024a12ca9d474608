// The broker aedes behind the WebSocket server ws, for tests/interop/web_socket.rs.
//
// Arguments are NAME=VALUE: `port` (0 lets the system choose), `key` and `certificate` (PEM files: TLS),
// `fragment` (bytes: everything sent is cut into continuation frames), `ping` (milliseconds between pings).
// It prints `listening PORT`, then one line for each subscription and each closed WebSocket.
'use strict'

const fs = require('fs')
const http = require('http')
const https = require('https')
const aedes = require('aedes')
const { WebSocketServer, createWebSocketStream } = require('ws')

const options = Object.fromEntries(process.argv.slice(2).map((argument) => argument.split('=')))
const fragment = Number(options.fragment ?? 0)
const ping = Number(options.ping ?? 0)

const broker = aedes.createBroker()
broker.on('subscribe', (subscriptions, client) => {
  console.log(`subscribed ${client.id}`)
})

const server = options.key
  ? https.createServer({ key: fs.readFileSync(options.key), cert: fs.readFileSync(options.certificate) })
  : http.createServer()
const sockets = new WebSocketServer({
  server,
  path: '/mqtt',
  handleProtocols: (offered) => (offered.has('mqtt') ? 'mqtt' : false)
})

// Has everything leave in frames of so many bytes, each but the last of a message with more to come.
function cut (socket) {
  const send = socket.send.bind(socket)
  socket.send = (data, sending, done) => {
    const callback = typeof sending === 'function' ? sending : done
    // Nothing at all is a message as well.
    let at = 0
    do {
      const last = at + fragment >= data.length
      send(data.subarray(at, at + fragment), { binary: true, fin: last }, last ? callback : undefined)
      at += fragment
    } while (at < data.length)
  }
}

sockets.on('connection', (socket) => {
  let pongs = 0
  if (fragment > 0) {
    cut(socket)
  }
  if (ping > 0) {
    const pinging = setInterval(() => socket.ping('still there?'), ping)
    socket.on('pong', (payload) => { pongs += payload.toString() === 'still there?' ? 1 : 0 })
    socket.on('close', () => clearInterval(pinging))
  }
  socket.on('close', (code) => console.log(`closed ${code} ${pongs > 0 ? 'answered' : 'silent'}`))
  broker.handle(createWebSocketStream(socket))
})

server.listen(Number(options.port ?? 0), '127.0.0.1', () => {
  console.log(`listening ${server.address().port}`)
})
