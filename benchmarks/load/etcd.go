package main

import (
	"context"
	"time"

	"go.etcd.io/etcd/clientv3"
)

type etcd struct{ client *clientv3.Client }

func connectToEtcd(server string, _ []string) (connection, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{server}, DialTimeout: 10 * time.Second,
	})
	return etcd{client}, err
}

func (c etcd) set(key string, value []byte) error {
	_, err := c.client.Put(context.Background(), key, string(value))
	return err
}

func (c etcd) get(key string) error {
	_, err := c.client.Get(context.Background(), key)
	return err
}
