# Ruby with the gem msgpack.

require 'msgpack'
require 'socket'

CHANNEL = -1001234567890
HASH = 2**62 + 1

$connection = UNIXSocket.new(ENV.fetch('GRAMD_SOCKET'))
$unpacker = MessagePack::Unpacker.new($connection)
$last = 0

def call(method, *params)
  $last += 1
  $connection.write([0, $last, method, params].to_msgpack)
  _, id, error, result = $unpacker.read
  abort "#{method}: the answer to #{id}" unless id == $last
  throw :refused, error if error
  result
end

def expect(what, found, wanted)
  abort "#{what}: #{found.inspect}" unless found == wanted
end

expect 'hello', call('hello', { 'client' => 'ruby' })['server'], 'gramd'
session = call('open', 'ruby', {})['session']
expect 'update_peers', call('update_peers', session, [[CHANNEL, HASH, 'channel', 'news', nil]]), nil
expect 'the peer', call('get_peer_by_id', session, CHANNEL)[0, 5], [CHANNEL, HASH, 'channel', 'news', nil]
expect 'an error', catch(:refused) { call('get_peer_by_id', session, 42) }[0], 'not_found'
expect 'what follows it', call('ping', 'on'), 'on'
expect 'close', call('close', session), nil
