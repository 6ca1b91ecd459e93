package cache

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
)

// Status describes the server, for `stegomq doctor`.
type Status struct {
	// Server is redis, valkey, ... or miniredis, and Version its version; empty when unknown.
	Server, Version string
	// Address is that of Cache.URL.
	Address string
	// Embedded says that the server runs in this process.
	Embedded bool
	// Memory is what the server uses, in bytes. miniredis does not know; when it runs in this process, this
	// is the size of the last snapshot.
	Memory int64
	// Keys of the database, also those of other users of it.
	Keys int64
	// Policy is the server's maxmemory-policy; empty when unknown.
	Policy string
}

// EvictsAll says whether the server deletes keys without a lifetime, including scores and runs, when memory is short.
func (s Status) EvictsAll() bool { return strings.HasPrefix(s.Policy, "allkeys-") }

// Used is the resource use of the server's process so far.
type Used struct {
	CPU float64 // seconds
	RSS int64   // bytes
}

// Used asks the server for its resource use. An embedded server, in any process, does not know it: 0.
func (c *Cache) Used(ctx context.Context) (Used, error) {
	info, err := c.info(ctx)
	if err != nil {
		return Used{}, fmt.Errorf("ask Redis what it used: %w", err)
	}
	user, _ := strconv.ParseFloat(info["used_cpu_user"], 64)
	system, _ := strconv.ParseFloat(info["used_cpu_sys"], 64)
	rss, _ := strconv.ParseInt(info["used_memory_rss"], 10, 64)
	return Used{CPU: user + system, RSS: rss}, nil
}

// info returns the fields of the server's INFO, by name.
func (c *Cache) info(ctx context.Context) (map[string]string, error) {
	text, err := c.rdb.Info(ctx).Result()
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, err
}

// Status asks the server for its status.
func (c *Cache) Status(ctx context.Context) (Status, error) {
	s := Status{Address: c.url, Embedded: c.embedded != nil}
	info, err := c.info(ctx)
	if err == nil {
		s.Keys, err = c.rdb.DBSize(ctx).Result()
	}
	if err != nil {
		return Status{}, fmt.Errorf("ask Redis for its status: %w", err)
	}
	s.Server, s.Version = info["server_name"], info["redis_version"]
	switch {
	case s.Server != "": // valkey and others, which also give the version of Redis that they follow
		if v := info[s.Server+"_version"]; v != "" {
			s.Version = v
		}
	case s.Version != "":
		s.Server = "redis"
	default: // only miniredis says neither
		s.Server, s.Version = "miniredis", miniredisVersion()
	}
	s.Policy = info["maxmemory_policy"]
	s.Memory, _ = strconv.ParseInt(info["used_memory"], 10, 64)
	if c.embedded != nil {
		s.Memory = c.embedded.size.Load()
	}
	return s, nil
}

// miniredisVersion is the version of miniredis in this binary; another process's may differ.
func miniredisVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/alicebob/miniredis/v2" {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return ""
}
