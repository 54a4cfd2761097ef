// A closed load for servers that don't speak RESP: each connection has one request under way.
//
//	load -protocol etcd|zookeeper -servers HOST:PORT,... -operation set|get -connections 50
//	     -operations 100000 -keys 10000 -value-bytes 64
//
// Prints what became of it as one line of JSON. Python would take more of the processors than the
// servers do that are measured on the same machine.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

// connection is one client of one server.
type connection interface {
	set(key string, value []byte) error
	get(key string) error // linearizable
}

var protocols = map[string]func(server string, keys []string) (connection, error){
	"etcd":      connectToEtcd,
	"zookeeper": connectToZooKeeper,
}

type result struct {
	Operations  int                `json:"operations"`
	Seconds     float64            `json:"seconds"`
	Percentiles map[string]float64 `json:"latency_ms"`
}

func main() {
	protocol := flag.String("protocol", "", "etcd or zookeeper")
	servers := flag.String("servers", "", "HOST:PORT,... that the connections are spread over")
	operation := flag.String("operation", "set", "set or get")
	count := flag.Int("connections", 50, "how many there are")
	operations := flag.Int("operations", 100000, "how many, over all connections")
	keyCount := flag.Int("keys", 10000, "how many different ones there are")
	valueBytes := flag.Int("value-bytes", 64, "the size of each value")
	flag.Parse()
	connect, known := protocols[*protocol]
	if !known || (*operation != "set" && *operation != "get") {
		flag.Usage()
		os.Exit(2)
	}

	keys := make([]string, *keyCount)
	for number := range keys {
		keys[number] = fmt.Sprintf("key-%012d", number)
	}
	addresses := strings.Split(*servers, ",")
	connections := make([]connection, *count)
	for number := range connections {
		var toMake []string // by the first, if the protocol has nothing to write to else
		if number == 0 {
			toMake = keys
		}
		made, err := connect(addresses[number%len(addresses)], toMake)
		if err != nil {
			log.Fatal(err)
		}
		connections[number] = made
	}
	value := []byte(strings.Repeat("x", *valueBytes))

	latencies := make([][]time.Duration, *count)
	var running sync.WaitGroup
	share := (*operations + *count - 1) / *count
	begun := time.Now()
	for number, c := range connections {
		running.Add(1)
		go func(number int, c connection) {
			defer running.Done()
			random := rand.New(rand.NewSource(int64(number)))
			for done := 0; done < share; done++ {
				sent := time.Now()
				var err error
				if key := keys[random.Intn(len(keys))]; *operation == "set" {
					err = c.set(key, value)
				} else {
					err = c.get(key)
				}
				if err != nil {
					log.Fatal(err)
				}
				latencies[number] = append(latencies[number], time.Since(sent))
			}
		}(number, c)
	}
	running.Wait()
	print(latencies, time.Since(begun))
}

func print(latencies [][]time.Duration, took time.Duration) {
	var all []time.Duration
	for _, some := range latencies {
		all = append(all, some...)
	}
	sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
	percentiles := map[string]float64{}
	for name, share := range map[string]float64{"p50": 0.5, "p99": 0.99, "p99.9": 0.999} {
		percentiles[name] = all[int(share*float64(len(all)-1))].Seconds() * 1000
	}
	line, err := json.Marshal(result{len(all), took.Seconds(), percentiles})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}
