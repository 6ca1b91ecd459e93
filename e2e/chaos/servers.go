package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// server is a part with a store.
type server struct {
	part
	store string
	disk  *disk // nil: the store lies on the machine's own disk
}

// lose ends a server, and starts it again with an empty store.
func (s *server) lose(ctx context.Context, hold time.Duration) error {
	s.stop(syscall.SIGKILL, stopPatience)
	entries, err := os.ReadDir(s.store)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.store, e.Name())))
	}
	sleep(ctx, hold)
	return errors.Join(err, s.start())
}

var errNoDisk = errors.New("there is no disk that could be filled")

// fill fills the disk of a server for a while.
func (s *server) fill(ctx context.Context, hold time.Duration) error {
	if s.disk == nil {
		return errNoDisk
	}
	err := s.disk.fill()
	sleep(ctx, hold)
	return errors.Join(err, s.disk.free())
}

// node is a NATS server.
type node struct {
	server
	client, monitor string // addresses
}

// redisServer is a Redis with an append-only file.
type redisServer struct {
	server
	addr string
}

// nextPort is tried next. It is below the ports of outgoing connections, so that it stays free while a server is down.
var nextPort atomic.Int64

const firstPort, ports = 20000, 10000

// freeAddrs are addresses of this machine where nobody listens.
func freeAddrs(n int) ([]string, error) {
	nextPort.CompareAndSwap(0, 1+rand.Int64N(ports)) // others run beside this program
	var addrs []string
	for range ports {
		if len(addrs) == n {
			return addrs, nil
		}
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+nextPort.Add(1)%ports)
		if l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr); err == nil {
			_ = l.Close()
			addrs = append(addrs, addr)
		}
	}
	return nil, fmt.Errorf("no %d free ports from %d on", n, firstPort)
}

// newNodes makes the configurations of n servers, a cluster where there are several.
func newNodes(program, dir string, n int, disks *disks) ([]*node, error) {
	addrs, err := freeAddrs(3 * n)
	if err != nil {
		return nil, err
	}
	var routes []string
	for i := range n {
		routes = append(routes, "nats-route://"+addrs[3*i+2])
	}
	var nodes []*node
	for i := range n {
		name := fmt.Sprintf("nats-%d", i+1)
		nd := &node{client: addrs[3*i], monitor: addrs[3*i+1]}
		// Only a single server has a disk of its own that can be filled: a cluster treats a node with a full disk like
		// a killed one.
		if nd.store, nd.disk, err = disks.folder(name, n == 1); err != nil {
			return nil, err
		}
		conf := fmt.Sprintf("server_name: %s\nlisten: %q\nhttp: %q\nmax_payload: 8MB\njetstream { store_dir: %q, max_file_store: 64GB, max_memory_store: 64MB }\n",
			name, nd.client, nd.monitor, nd.store)
		if n > 1 {
			// Clients must not learn of addresses that go around the proxy.
			conf += fmt.Sprintf("cluster { name: chaos, listen: %q, no_advertise: true, routes: [%s] }\n", addrs[3*i+2], strings.Join(routes, ", "))
		}
		file := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			return nil, err
		}
		nd.part = part{name: name, argv: []string{program, "-c", file}, dir: dir}
		nodes = append(nodes, nd)
	}
	return nodes, nil
}

// get asks the monitoring of a node.
func (nd *node) get(ctx context.Context, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+nd.monitor+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// healthy says whether a node serves, and whether its replicas are current.
func (nd *node) healthy(ctx context.Context) bool { return nd.get(ctx, "/healthz", nil) == nil }

// stream is what monitoring says of one.
type stream struct {
	Name    string `json:"name"`
	Cluster struct {
		Leader string `json:"leader"`
	} `json:"cluster"`
	State struct {
		Messages int `json:"messages"`
	} `json:"state"`
}

func (nd *node) streams(ctx context.Context) ([]stream, error) {
	var answer struct {
		Accounts []struct {
			Streams []stream `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := nd.get(ctx, "/jsz?accounts=true&streams=true", &answer); err != nil {
		return nil, err
	}
	var all []stream
	for _, account := range answer.Accounts {
		all = append(all, account.Streams...)
	}
	return all, nil
}

func newRedis(program, dir string, disks *disks) (*redisServer, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	r := &redisServer{addr: addrs[0]}
	if r.store, r.disk, err = disks.folder("redis", true); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		return nil, err
	}
	r.part = part{name: "redis", dir: dir, argv: []string{
		program, "--bind", "127.0.0.1", "--port", port, "--dir", r.store, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
		"--maxmemory-policy", "noeviction",
	}}
	return r, nil
}

// ask sends one command, past the proxy, and gives the first line of the answer.
func (r *redisServer) ask(ctx context.Context, words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", strings.Join(words, " ")); err != nil { // an inline command
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	line = strings.TrimSpace(line)
	if err == nil && strings.HasPrefix(line, "-") {
		return "", errors.New(line[1:])
	}
	return line, err
}

func (r *redisServer) serves(ctx context.Context) bool {
	_, err := r.ask(ctx, "PING")
	return err == nil
}

// count is how many comparisons of a run have a score, or a failure.
func (r *redisServer) count(ctx context.Context, run string) (int, error) {
	total := 0
	for _, part := range []string{"scores", "failures"} {
		line, err := r.ask(ctx, "HLEN", "stegomq:run:v2:{"+run+"}:"+part)
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(strings.TrimPrefix(line, ":"))
		if err != nil {
			return 0, fmt.Errorf("redis answered %q", line)
		}
		total += n
	}
	return total, nil
}
