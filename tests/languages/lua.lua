-- Lua with lua-MessagePack. A number that is a float stays one, and an empty table is an empty array.

local mp = require 'MessagePack'
local connection = assert(require 'socket.unix'())
local channel, hash = -1001234567890.0, (1 << 62) + 1
local last = 0

mp.set_array 'with_hole'
assert(connection:connect(os.getenv 'GRAMD_SOCKET'))
connection:settimeout(60)

-- One message: there is no other before the next request.
local function read()
    local bytes = ''
    while true do
        bytes = bytes .. assert(connection:receive(1))
        local whole, message = pcall(mp.unpack, bytes)
        if whole then return message end
    end
end

local function call(method, ...)
    last = last + 1
    assert(connection:send(mp.pack { 0, last, method, { ... } }))
    local answer = read()
    assert(answer[2] == last, method)
    return answer[4], answer[3]
end

local function expect(what, found, wanted)
    if found ~= wanted then error(what .. ': ' .. tostring(found)) end
end

expect('hello', call('hello', {}).server, 'gramd')
local session = call('open', 'lua', {}).session
local _, refused = call('update_peers', session, { { channel, hash, 'channel', 'news', nil, 1700000000 } })
expect('update_peers', refused, nil)
local peer = call('get_peer_by_id', session, channel)
expect('the id', peer[1], -1001234567890)
expect('the access hash', peer[2], hash)
expect('the username', peer[4], 'news')
_, refused = call('get_peer_by_id', session, 42)
expect('an error', refused[1], 'not_found')
expect('what follows it', call('ping', 'on'), 'on')
call('close', session)
