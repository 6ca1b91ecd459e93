package pipeline

import (
	"context"
	"fmt"
	"time"

	"stegomq/producer"
)

// Follow tells how far a run is until every comparison of it has a score or a failure, whoever makes it. Redis is connected; with a connected
// bus it says why nothing moves. It returns ErrCancelled, or cache.ErrUnknownRun where there is no such run, or not any more.
func (s *Services) Follow(ctx context.Context, id string, tell func(Progress)) error {
	run, err := s.Cache.Run(ctx, id)
	if err != nil {
		return err
	}
	plan, err := producer.MakePlan(ctx, run.Spec, 0, "", nothing{}, nil) // which knows the number of comparisons
	if err != nil {
		return err
	}
	redis := patientCache{s.Cache, newPatience(s.opts.Patience)}
	now, found, moved := Progress{Total: plan.Total}, -1, time.Now()
	var looked time.Time
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		scores, failures, err := redis.Progress(ctx, id)
		if err != nil {
			return err
		}
		if done := int(scores + failures); found < 0 {
			now.Found, found = done, done
		} else if done != now.Scores+now.Failures {
			moved, now.Waiting = time.Now(), ""
		}
		now.Scores, now.Failures = int(scores), int(failures)
		tell(now)
		if now.Scores+now.Failures >= now.Total {
			return nil
		}
		if time.Since(looked) >= s.pace {
			if err := s.stillThere(ctx, redis, id); err != nil {
				return err
			}
			looked, now.Waiting = time.Now(), s.standing(ctx, id, time.Since(moved))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// stillThere says why a run will not go on: somebody cancelled it, or took it away.
func (s *Services) stillThere(ctx context.Context, redis patientCache, id string) error {
	state, err := ask(ctx, redis.patience, redisServer, func(ctx context.Context) (bool, error) {
		run, err := s.Cache.Run(ctx, id)
		return err == nil && !run.Cancelled.IsZero(), err
	})
	if err == nil && state {
		err = fmt.Errorf("%w: %s", ErrCancelled, id)
	}
	return err
}

// standing says in one phrase why a run does not move; "" where it does, or where nobody knows.
func (s *Services) standing(ctx context.Context, id string, quiet time.Duration) string {
	if s.Bus == nil || quiet < s.pace {
		return ""
	}
	waiting, err := s.Queue.Outstanding(ctx, id)
	switch {
	case err != nil:
		return ""
	case waiting == 0:
		return "nothing of the run is in the queue: the command that began it goes on with it"
	case quiet < quietAfter:
		return ""
	}
	return waitsFor(ctx, s.Queue, waiting, quiet)
}
