package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// serviceFlags are for what needs the whole pipeline; busFlags and cacheFlags for what needs one of its servers.
func (a *app) serviceFlags(f *pflag.FlagSet) {
	a.busFlags(f)
	f.StringVar(&a.at.Redis, "redis", "", redisUsage)
	f.StringVar(&a.at.Blobs, "blobs", "", "folder for images that all processes share; the NATS object store when empty")
	f.DurationVar(&a.at.BlobLifetime, "blob-lifetime", 0, "how long images are kept (0: what the server has, at first 168h; in a --blobs folder 168h)")
	f.DurationVar(&a.at.UnservedAfter, "unserved-after", 0, "how long a job may wait for a worker that has its key and model before it becomes a dead letter (0: 2m)")
	f.IntVar(&a.at.Replicas, "replicas", 0, "replicas of each stream that is created (0: 3 where the NATS cluster has three servers or more, else 1)")
	f.DurationVar(&a.at.AckWait, "ack-wait", 0, "how long a worker or evaluator may give no sign of life before its work goes to another (0: what the server has, at first 30s)")
}

func (a *app) busFlags(f *pflag.FlagSet) {
	f.StringVar(&a.at.State, "state", defaultState(), stateUsage)
	f.StringVar(&a.at.NATS, "nats", "", "NATS server with JetStream, nats://host:4222; embedded when empty")
	f.StringVar(&a.at.NATSCredentials, "nats-creds", "", "NATS credentials file")
}

func (a *app) cacheFlags(f *pflag.FlagSet) {
	f.StringVar(&a.at.State, "state", defaultState(), stateUsage)
	f.StringVar(&a.at.Redis, "redis", "", redisUsage)
}

const (
	stateUsage = "folder of the embedded servers' data"
	redisUsage = "Redis server, redis://host:6379; embedded when empty"
)

// checkConnection finds what is wrong with the flags above.
func (a *app) checkConnection(cmd *cobra.Command) error {
	if a.at.State == "" && cmd.Flags().Lookup("state") != nil {
		return errors.New("there is no home folder to keep data in: name one with --state")
	}
	both := cmd.Flags().Lookup("nats") != nil && cmd.Flags().Lookup("redis") != nil
	if both && (a.at.NATS == "") != (a.at.Redis == "") {
		return errors.New("--nats and --redis go together: give both servers, or neither to use embedded ones")
	}
	return nil
}

// defaultState is $XDG_STATE_HOME/stegomq, or "" without a home.
func defaultState() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "stegomq")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "stegomq")
}
