package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// What of ZooKeeper's protocol is used: zookeeper.jute, ZooDefs.OpCode, KeeperException.Code.
const (
	opCreate     = 1
	opGetData    = 4
	opSetData    = 5
	opSync       = 9
	allRights    = 31
	nodeExists   = -110
	anyVersion   = -1
	sessionLasts = 30 * time.Second
	connectLasts = 20 * time.Second
)

type zooKeeper struct {
	socket  net.Conn
	replies *bufio.Reader
	request []byte
}

// connectToZooKeeper makes a session, and nodes that are not there yet. A server that says that it
// serves may still close connections for a while.
func connectToZooKeeper(server string, keys []string) (connection, error) {
	giveUpAt := time.Now().Add(connectLasts)
	for {
		made, err := tryZooKeeper(server, keys)
		if err == nil {
			return made, nil
		}
		if time.Now().After(giveUpAt) {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func tryZooKeeper(server string, keys []string) (connection, error) {
	socket, err := net.Dial("tcp", server)
	if err != nil {
		return nil, err
	}
	c := &zooKeeper{socket: socket, replies: bufio.NewReader(socket)}
	c.int(0)                                      // version of the protocol
	c.long(0)                                     // the last transaction seen
	c.int(int32(sessionLasts / time.Millisecond)) // time-out
	c.long(0)                                     // no session yet
	c.buffer(make([]byte, 16))                    // password
	if err := c.send(); err != nil {
		return nil, err
	}
	if _, err := c.receive(); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := c.create(key); err != nil && err != errExists {
			return nil, err
		}
	}
	return c, nil
}

var errExists = fmt.Errorf("the node exists")

func (c *zooKeeper) create(key string) error {
	c.int(0)
	c.int(opCreate)
	c.buffer([]byte("/" + key))
	c.buffer(nil)
	c.int(1) // one entry of the access list
	c.int(allRights)
	c.buffer([]byte("world"))
	c.buffer([]byte("anyone"))
	c.int(0) // flags
	if err := c.send(); err != nil {
		return err
	}
	return c.outcome()
}

func (c *zooKeeper) set(key string, value []byte) error {
	c.int(0)
	c.int(opSetData)
	c.buffer([]byte("/" + key))
	c.buffer(value)
	c.int(anyVersion)
	if err := c.send(); err != nil {
		return err
	}
	return c.outcome()
}

// get is linearizable: a follower first catches up with the leader.
func (c *zooKeeper) get(key string) error {
	c.int(0)
	c.int(opSync)
	c.buffer([]byte("/" + key))
	if err := c.send(); err != nil {
		return err
	}
	c.int(0)
	c.int(opGetData)
	c.buffer([]byte("/" + key))
	c.request = append(c.request, 0) // no watch
	if err := c.send(); err != nil {
		return err
	}
	if err := c.outcome(); err != nil {
		return err
	}
	return c.outcome()
}

func (c *zooKeeper) int(value int32) {
	c.request = append(c.request, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(c.request[len(c.request)-4:], uint32(value))
}

func (c *zooKeeper) long(value int64) {
	c.int(int32(value >> 32))
	c.int(int32(value))
}

func (c *zooKeeper) buffer(value []byte) {
	c.int(int32(len(value)))
	c.request = append(c.request, value...)
}

func (c *zooKeeper) send() error {
	frame := make([]byte, 4, 4+len(c.request))
	binary.BigEndian.PutUint32(frame, uint32(len(c.request)))
	_, err := c.socket.Write(append(frame, c.request...))
	c.request = c.request[:0]
	return err
}

func (c *zooKeeper) receive() ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(c.replies, length[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(c.replies, reply)
	return reply, err
}

func (c *zooKeeper) outcome() error {
	reply, err := c.receive()
	if err != nil {
		return err
	}
	switch code := int32(binary.BigEndian.Uint32(reply[12:])); code { // after xid and zxid
	case 0:
		return nil
	case nodeExists:
		return errExists
	default:
		return fmt.Errorf("ZooKeeper's error %d", code)
	}
}
