package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/pipeline"
)

// serviceFlags are for commands that need the whole pipeline. busFlags and cacheFlags are for those that need one of its servers.
func (a *app) serviceFlags(f *pflag.FlagSet) {
	group(groupServers, f, func(f *pflag.FlagSet) {
		a.busFlags(f)
		a.redisFlags(f)
		f.StringVar(&a.at.Blobs, "blobs", "", "folder for images that all processes share; the NATS object store when empty")
		f.DurationVar(&a.at.BlobLifetime, "blob-lifetime", 0, "how long images are kept (0: as the server is set, at first 168h; in a --blobs folder 168h)")
		f.DurationVar(&a.at.UnservedAfter, "unserved-after", 0, "how long a job goes from worker to worker in search of one that has its key, before it becomes a dead letter (0: 2m)")
		f.IntVar(&a.at.Replicas, "replicas", 0, "replicas of each stream that is created (0: 3 where the NATS cluster has three servers or more, else 1)")
		f.DurationVar(&a.at.AckWait, "ack-wait", 0, "how long a worker or evaluator may give no sign of life before its work goes to another (0: as the server is set, at first 30s)")
	})
}

func (a *app) busFlags(f *pflag.FlagSet) {
	group(groupServers, f, func(f *pflag.FlagSet) {
		f.StringVar(&a.at.State, "state", pipeline.DefaultState(), stateUsage)
		f.StringVar(&a.at.NATS, "nats", "", "NATS server with JetStream, nats://host:4222; a password goes into STEGOMQ_NATS; when empty: the server of a stegomq up on the state folder, or else an embedded one")
		f.StringVar(&a.at.NATSCredentials, "nats-creds", "", "NATS credentials file")
		f.StringVar(&a.at.NATSCA, "nats-ca", "", "PEM file of the authorities that signed the NATS server's certificate")
		f.StringVar(&a.at.NATSCert, "nats-cert", "", "PEM file of a client certificate for the NATS server")
		f.StringVar(&a.at.NATSKey, "nats-key", "", "PEM file of its key")
		a.insecureFlag(f)
	})
}

func (a *app) cacheFlags(f *pflag.FlagSet) {
	group(groupServers, f, func(f *pflag.FlagSet) {
		f.StringVar(&a.at.State, "state", pipeline.DefaultState(), stateUsage)
		a.redisFlags(f)
		a.insecureFlag(f)
	})
}

func (a *app) redisFlags(f *pflag.FlagSet) {
	f.StringVar(&a.at.Redis, "redis", "", "Redis server, redis://host:6379, or rediss:// with TLS; a password goes into STEGOMQ_REDIS; when empty as for --nats")
	f.StringVar(&a.at.RedisPasswordFile, "redis-password-file", "", "file that holds the password of the Redis server")
	f.StringVar(&a.at.RedisCA, "redis-ca", "", "PEM file of the authorities that signed the Redis server's certificate")
	f.StringVar(&a.at.RedisCert, "redis-cert", "", "PEM file of a client certificate for the Redis server")
	f.StringVar(&a.at.RedisKey, "redis-key", "", "PEM file of its key")
}

func (a *app) insecureFlag(f *pflag.FlagSet) {
	f.BoolVar(&a.at.Insecure, "insecure", false, "use servers on other machines that ask for no password, credentials or certificate: for closed networks only, since "+
		"whoever reaches such a server uses every key of the workers")
}

// tenantFlag is for commands that a tenant may use.
func (a *app) tenantFlag(f *pflag.FlagSet) {
	group(groupServers, f, func(f *pflag.FlagSet) {
		f.StringVar(&a.at.Tenant, "tenant", "", "work as this user, whom the operator gave access (stegomq access grant); needs --nats and no Redis")
	})
}

// ownServers is an annotation of commands that do not use the servers of a running stegomq up where no server is named.
const ownServers = "own-servers"

const stateUsage = "folder of the embedded servers' data and secret"

// refuseSecretsInFlags refuses passwords in arguments, which everybody on the machine sees. It comes before flags are set from elsewhere.
func refuseSecretsInFlags(f *pflag.FlagSet) error {
	for _, c := range []struct{ name, otherwise string }{
		{"nats", "set STEGOMQ_NATS in the environment, or nats in a --config file of mode 0600, or give --nats-creds FILE"},
		{"redis", "set STEGOMQ_REDIS in the environment, or redis in a --config file of mode 0600, or give --redis-password-file FILE"},
	} {
		if flag := f.Lookup(c.name); flag != nil && flag.Changed && pipeline.HasSecret(flag.Value.String()) {
			return fmt.Errorf("--%s has a password in it, which everybody on this machine can see: %s", c.name, c.otherwise)
		}
	}
	return nil
}

// checkConnection finds what is wrong with the flags above. It also finds the servers of a stegomq up that runs on the state folder.
func (a *app) checkConnection(cmd *cobra.Command) error {
	if a.at.State == "" && cmd.Flags().Lookup("state") != nil {
		return errors.New("there is no home folder to keep data in: name one with --state")
	}
	both := cmd.Flags().Lookup("nats") != nil && cmd.Flags().Lookup("redis") != nil
	if both && a.at.Tenant == "" && (a.at.NATS == "") != (a.at.Redis == "") {
		return errors.New("--nats and --redis go together: give both servers, or neither to use embedded ones")
	}
	_, own := cmd.Annotations[ownServers]
	if a.at.State != "" && cmd.Name() != "up" && !(own && a.at.NATS == "") {
		if err := a.at.Locate(); err != nil {
			return err
		}
	}
	return a.at.Check()
}
