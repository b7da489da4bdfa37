// msgpack5rpc, a MessagePack-RPC client. It knows numbers of 53 bits.

import { createConnection } from 'node:net'
import { createRequire } from 'node:module'
import { socket, talk } from './talk.mjs'

const Session = createRequire(process.cwd() + '/')('msgpack5rpc')
const session = new Session()
const connection = createConnection(socket)
session.attach(connection, connection)
const call = (method, params) => new Promise((resolve, reject) =>
    session.request(method, params, (error, result) => error ? reject(error) : resolve(result)))
await talk(call, 'msgpack5rpc', 2 ** 53 - 1)
