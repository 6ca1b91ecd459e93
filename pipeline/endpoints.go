package pipeline

import "time"

// Endpoints say where the servers of a pipeline are, and what is asked of them. The zero value of a field means the server's or
// the package's default. Without NATS and Redis both servers are embedded in this process, on the state folder.
type Endpoints struct {
	// State is the folder of the embedded servers' data.
	State string
	// NATS is the URL of a server with JetStream, and NATSCredentials a credentials file for it. Empty: an embedded server.
	NATS, NATSCredentials string
	// NATSCA is a PEM file of the authorities of its certificate, NATSCert and NATSKey are a client certificate and its key.
	NATSCA, NATSCert, NATSKey string
	// Redis is the URL of a server, and RedisPasswordFile holds its password where the URL does not. Empty: an embedded one.
	Redis, RedisPasswordFile string
	// RedisCA, RedisCert and RedisKey are as for NATS; they are for rediss:// alone.
	RedisCA, RedisCert, RedisKey string
	// Tenant is whose jobs, images and results these are. Empty: the operator's own. A tenant needs no Redis.
	Tenant string
	// Insecure has servers that other machines reach used without authentication.
	Insecure bool
	// NATSListen and RedisListen are loopback addresses at which embedded servers serve other processes. Empty: this one only.
	NATSListen, RedisListen string
	// Blobs is a folder for images that all processes share. Empty: the store of the message queue.
	Blobs string
	// BlobLifetime is how long images are kept, AckWait how long a worker or evaluator may give no sign of life before its work goes
	// to another. 0: what the server has.
	BlobLifetime, AckWait time.Duration
	// UnservedAfter is how long a job may wait for a worker that has its key and model. 0: two minutes.
	UnservedAfter time.Duration
	// Replicas of each stream that is created. 0: three where the cluster has as many servers.
	Replicas int

	// What Locate found for a server of `stegomq up`.
	natsSecret, redisSecret string
}

// Embedded says whether the message queue runs in this process.
func (e *Endpoints) Embedded() bool { return e.NATS == "" }
