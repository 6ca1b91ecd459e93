// Package leaks finds goroutines that tests leave behind. Only tests import it.
package leaks

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end. goleak by itself waits half a second, which on a busy machine is too short for what a
// test has closed.
const patience = time.Minute

// Find returns an error that names the goroutines that do not end.
func Find(options ...goleak.Option) (err error) {
	for deadline := time.Now().Add(patience); ; {
		if err = goleak.Find(options...); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Main is the TestMain of a package: it runs the tests and, where they pass, finds what they leave.
func Main(m goleak.TestingM, options ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
