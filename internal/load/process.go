package load

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Self is what this process used so far, as the system counts it. Where /proc is missing, RSS is 0.
func Self(name string) Process {
	p := Process{Name: name}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err == nil {
		p.CPU = (time.Duration(used.Utime.Nano()) + time.Duration(used.Stime.Nano())).Seconds()
		p.Peak = used.Maxrss << 10 // Linux counts in KiB
	}
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(data); len(fields) > 1 {
			pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			p.RSS = pages * int64(os.Getpagesize())
		}
	}
	return p
}
