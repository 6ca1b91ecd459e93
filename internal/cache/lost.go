package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// lostHook marks the errors of a lost connection, after the client's own tries, as ErrUnreachable: the same
// error as for a server that never answered.
type lostHook struct{}

func (lostHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (lostHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if lost(err) {
			err = fmt.Errorf("%w: %w", ErrUnreachable, err)
			cmd.SetErr(err)
		}
		return err
	}
}

func (lostHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if lost(err) {
			err = fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return err
	}
}

// lost says whether err comes from the connection. The end of the context comes from the caller.
func lost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var answer redis.Error
	if errors.As(err, &answer) {
		// The server answers, but does not serve yet, or accepts no writes because its disk or its memory is full.
		for _, word := range []string{"LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "MISCONF", "OOM", "EXECABORT"} {
			if strings.HasPrefix(answer.Error(), word) {
				return true
			}
		}
	}
	var network net.Error
	return errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}
