// Go with github.com/vmihailenco/msgpack.
package main

import (
	"fmt"
	"net"
	"os"

	"github.com/vmihailenco/msgpack/v5"
)

const (
	channel = -1001234567890
	hash    = 1<<62 + 1
)

var (
	encoder *msgpack.Encoder
	decoder *msgpack.Decoder
	last    uint32
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func expect(what string, found, wanted interface{}) {
	if fmt.Sprint(found) != fmt.Sprint(wanted) { // integers are of the type of their encoding
		must(fmt.Errorf("%s: %v", what, found))
	}
}

// The result and the error's code.
func call(method string, params ...interface{}) (interface{}, interface{}) {
	last++
	must(encoder.Encode([]interface{}{0, last, method, params}))
	decoded, err := decoder.DecodeInterface()
	must(err)
	answer := decoded.([]interface{})
	expect(method, answer[1], last)
	if answer[2] != nil {
		return nil, answer[2].([]interface{})[0]
	}
	return answer[3], nil
}

func main() {
	connection, err := net.Dial("unix", os.Getenv("GRAMD_SOCKET"))
	must(err)
	encoder, decoder = msgpack.NewEncoder(connection), msgpack.NewDecoder(connection)

	hello, _ := call("hello", map[string]interface{}{"client": "go"})
	expect("hello", hello.(map[string]interface{})["server"], "gramd")
	opened, _ := call("open", "go", map[string]interface{}{})
	session := opened.(map[string]interface{})["session"]
	_, refused := call("update_peers", session, []interface{}{[]interface{}{channel, hash, "channel", "news", nil}})
	expect("update_peers", refused, nil)
	answer, _ := call("get_peer_by_id", session, channel)
	peer := answer.([]interface{})
	expect("the id", peer[0], channel)
	expect("the access hash", peer[1], hash)
	expect("the username", peer[3], "news")
	_, refused = call("get_peer_by_id", session, 42)
	expect("an error", refused, "not_found")
	on, _ := call("ping", "on")
	expect("what follows it", on, "on")
	_, refused = call("close", session)
	expect("close", refused, nil)
}
