package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// programs are the files that the pipeline is made of.
type programs struct{ stegomq, nats, redis, ort, models string }

// roles is how many workers there are, and how many evaluators.
const roles = 2

// cluster names so many NATS servers.
func cluster(nodes int) string {
	if nodes == 1 {
		return "one NATS server"
	}
	return fmt.Sprintf("a cluster of %d NATS servers", nodes)
}

// system is a pipeline of processes with a proxy before every server.
type system struct {
	programs
	dir        string
	disks      *disks
	redis      *redisServer
	nodes      []*node
	workers    []*part
	evaluators []*part
	command    *part
	metrics    []string // addresses of the workers'
	// links leads from a client's name to its links: one to Redis, then one to each node.
	links map[string][]*link
}

// settleTime bounds how long servers may take until they are ready, when nobody disturbs them.
const settleTime = 3 * time.Minute

// newSystem starts servers, workers and evaluators in a folder.
func newSystem(ctx context.Context, p programs, nodes int, dir string) (sys *system, err error) {
	sys = &system{programs: p, dir: dir, disks: &disks{dir: dir}, links: make(map[string][]*link)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sys.close())
		}
	}()
	if sys.redis, err = newRedis(p.redis, dir, sys.disks); err != nil {
		return sys, err
	}
	if sys.nodes, err = newNodes(p.nats, dir, nodes, sys.disks); err != nil {
		return sys, err
	}
	for _, server := range sys.servers() {
		if err := server.start(); err != nil {
			return sys, err
		}
	}
	if err := sys.nodesReady(ctx); err != nil {
		return sys, err
	}
	if err := sys.redis.ready(ctx, func() bool { return sys.redis.serves(ctx) }); err != nil {
		return sys, err
	}
	if sys.metrics, err = freeAddrs(roles); err != nil {
		return sys, err
	}
	for i := range roles {
		w, err := sys.client(fmt.Sprintf("worker-%d", i+1), "gpuworker", "--slots", "1", "--metrics", sys.metrics[i], "--ack-wait", ackWait.String(), "--log-level", "info")
		if err != nil {
			return sys, err
		}
		e, err := sys.client(fmt.Sprintf("evaluator-%d", i+1), "evaluator", "--slots", "1", "--ack-wait", ackWait.String(), "--log-level", "info")
		if err != nil {
			return sys, err
		}
		sys.workers, sys.evaluators = append(sys.workers, w), append(sys.evaluators, e)
	}
	for _, p := range sys.roles() {
		if err := p.start(); err != nil {
			return sys, err
		}
	}
	for _, p := range sys.roles() {
		if err := p.ready(ctx, func() bool { return p.said("\nready\n") }); err != nil {
			return sys, err
		}
	}
	return sys, nil
}

// ackWait is shorter than the pipeline's default, so that one run has many redeliveries.
const ackWait = 5 * time.Second

// client makes a part that reaches the servers by links of its own.
func (s *system) client(name string, args ...string) (*part, error) {
	var urls []string
	targets := []string{s.redis.addr}
	for _, nd := range s.nodes {
		targets = append(targets, nd.client)
	}
	for i, target := range targets {
		l, err := newLink(target)
		if err != nil {
			return nil, err
		}
		s.links[name] = append(s.links[name], l)
		if i > 0 {
			urls = append(urls, "nats://"+l.addr())
		}
	}
	args = append(args, "--nats", strings.Join(urls, ","), "--redis", "redis://"+s.links[name][0].addr())
	return &part{name: name, argv: append([]string{s.stegomq}, args...), dir: s.dir, env: s.environment()}, nil
}

// evaluate starts the command on a folder of pictures. Its output comes into the folder out; done is closed when it has ended.
func (s *system) evaluate(data, run string) (out string, done <-chan struct{}, err error) {
	out = filepath.Join(s.dir, run)
	s.command, err = s.client("command", "evaluate", "--data", data, "--run", run, "--out", out, "--ack-wait", ackWait.String(),
		"--size", strconv.Itoa(side), "--keys", "2", "--random-keys", "1", "--batch", "1")
	if err != nil {
		return out, nil, err
	}
	s.command.once = true
	err = s.command.start()
	return out, s.command.done(), err
}

// environment is that of a user with a home of its own.
func (s *system) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir, "XDG_CONFIG_HOME=" + filepath.Join(s.dir, "config"),
		"XDG_STATE_HOME=" + filepath.Join(s.dir, "state"), "STEGOMQ_ORT_LIB=" + s.ort, "STEGOMQ_MODELS=" + s.models, "STEGOMQ_MODEL=" + model,
	}
}

func (s *system) servers() []*part {
	all := []*part{&s.redis.part}
	for _, nd := range s.nodes {
		all = append(all, &nd.part)
	}
	return all
}

func (s *system) roles() []*part { return append(append([]*part(nil), s.workers...), s.evaluators...) }

func (s *system) parts() []*part {
	all := append(s.servers(), s.roles()...)
	if s.command != nil {
		all = append(all, s.command)
	}
	return all
}

// nodesReady waits until every NATS server serves, and replicas are current.
func (s *system) nodesReady(ctx context.Context) error {
	for _, nd := range s.nodes {
		if err := nd.ready(ctx, func() bool { return nd.healthy(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// ready waits until a part is ready.
func (p *part) ready(ctx context.Context, ok func() bool) error {
	if err := eventually(ctx, ok); err != nil {
		return fmt.Errorf("%s is not ready: %w; see %s", p.name, err, p.logFile())
	}
	return nil
}

// eventually asks again and again, for settleTime.
func eventually(ctx context.Context, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// said says whether the log of a part has some words.
func (p *part) said(words string) bool {
	data, err := os.ReadFile(p.logFile())
	return err == nil && bytes.Contains(data, []byte(words))
}

// close ends every process, in an order that causes no errors in their logs, and unmounts the disks.
func (s *system) close() error {
	if s.command != nil {
		s.command.close()
	}
	for _, p := range s.roles() {
		p.close()
	}
	if s.redis != nil {
		s.redis.close()
	}
	for _, nd := range s.nodes {
		nd.close()
	}
	for _, links := range s.links {
		for _, l := range links {
			l.close()
		}
	}
	return s.disks.close()
}

// sleep ends early when the context does.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
