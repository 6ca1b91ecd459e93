// Command asynq measures a chain of three empty tasks through asynq and a redis-server of its own: embed enqueues recover, which enqueues
// score, in the order of an evaluation's jobs. It prints one line of JSON with the CPU time of both processes, in milliseconds for each chain
// and for each task.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
)

func main() {
	chains := flag.Int("chains", 2000, "chains that count")
	payload := flag.Int("payload", 256, "bytes of a task")
	inFlight := flag.Int("in-flight", 4, "chains under way")
	flag.Parse()
	log.SetFlags(0)
	if err := run(*chains, *payload, *inFlight); err != nil {
		log.Fatal(err)
	}
}

func run(chains, payload, inFlight int) error {
	dir, err := os.MkdirTemp("", "peers-asynq-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	port, err := freePort()
	if err != nil {
		return err
	}
	redis := exec.Command("redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes")
	if err := redis.Start(); err != nil {
		return err
	}
	at := asynq.RedisClientOpt{Addr: fmt.Sprintf("127.0.0.1:%d", port)}
	client := asynq.NewClient(at)
	defer client.Close()
	for client.Ping() != nil { // until it listens
		time.Sleep(10 * time.Millisecond)
	}

	done := make(chan struct{}, inFlight)
	next := map[string]string{"embed": "recover", "recover": "score"}
	mux := asynq.NewServeMux()
	for _, kind := range []string{"embed", "recover", "score"} {
		mux.HandleFunc(kind, func(_ context.Context, t *asynq.Task) error {
			follow, ok := next[t.Type()]
			if !ok {
				done <- struct{}{}
				return nil
			}
			_, err := client.Enqueue(asynq.NewTask(follow, t.Payload()))
			return err
		})
	}
	server := asynq.NewServer(at, asynq.Config{Concurrency: 4, LogLevel: asynq.FatalLevel})
	if err := server.Start(mux); err != nil {
		return err
	}
	body := make([]byte, payload)
	var begun atomic.Int64
	begin := func() error {
		begun.Add(1)
		_, err := client.Enqueue(asynq.NewTask("embed", body))
		return err
	}
	// As many again before it counts.
	warm := chains / 5
	var before, start = 0.0, time.Now()
	for range inFlight {
		if err := begin(); err != nil {
			return err
		}
	}
	for n := 1; n <= warm+chains; n++ {
		<-done
		if n == warm {
			before, start = cpu(redis.Process.Pid), time.Now()
		}
		if int(begun.Load()) < warm+chains {
			if err := begin(); err != nil {
				return err
			}
		}
	}
	took, used := time.Since(start), cpu(redis.Process.Pid)-before
	server.Shutdown()
	if err := redis.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = redis.Wait()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"peer": "asynq", "payload": payload, "chains": chains, "cpu_ms_a_chain": 1e3 * used / float64(chains),
		"cpu_ms_a_task": 1e3 * used / float64(3*chains), "chains_a_second": float64(chains) / took.Seconds(),
	})
}

// cpu is the CPU time of this process and of another one so far, in seconds.
func cpu(other int) float64 {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		log.Fatal(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(own.Utime) + seconds(own.Stime) + ofProcess(other)
}

// ofProcess reads utime and stime of a process, the 14th and 15th field of its stat, in hundredths of a second.
func ofProcess(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		log.Fatal(err)
	}
	var at int
	for i, c := range data { // the name may hold spaces
		if c == ')' {
			at = i + 2
		}
	}
	var state string
	var skipped [10]int64
	var utime, stime int64
	args := []any{&state}
	for i := range skipped {
		args = append(args, &skipped[i])
	}
	if _, err := fmt.Sscan(string(data[at:]), append(args, &utime, &stime)...); err != nil {
		log.Fatal(err)
	}
	return float64(utime+stime) / 100
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
