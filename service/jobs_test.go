package service

import (
	"testing"
	"time"

	"stegomq/pipeline"
)

func (s *jobs) mustBegin(t *testing.T, owner, key string) *job {
	t.Helper()
	j, isNew, why := s.begin(&job{owner: owner, key: key, request: &pipeline.OperationRequest{}})
	if why != nil || !isNew {
		t.Fatal(isNew, why)
	}
	return j
}

// A job that is old is forgotten with its idempotency key, and one that is under way is not.
func TestOldJobsAreForgotten(t *testing.T) {
	t.Parallel()
	s := newJobs()
	old, running, fresh := s.mustBegin(t, "alice", "k"), s.mustBegin(t, "alice", "r"), s.mustBegin(t, "alice", "f")
	s.end(old, result{})
	s.end(fresh, result{})
	for _, j := range []*job{old, running} {
		j.created = time.Now().Add(-keptFor - time.Second)
	}
	for j, there := range map[*job]bool{old: false, running: true, fresh: true} {
		if got := s.find("alice", j.id); (got == j) != there {
			t.Errorf("it is there: %v, want %v", got == j, there)
		}
	}
	if again := s.mustBegin(t, "alice", "k"); again.id == old.id {
		t.Error("the key gives the old job")
	}
	if same, isNew, _ := s.begin(&job{owner: "alice", key: "r"}); isNew || same != running {
		t.Error("the key of a running job began another")
	}
}

// A user keeps so many jobs, the newest, and takes none of another's.
func TestMostJobs(t *testing.T) {
	t.Parallel()
	s := newJobs()
	bobs := s.mustBegin(t, "bob", "")
	s.end(bobs, result{})
	first := s.mustBegin(t, "alice", "first")
	s.end(first, result{})
	var last *job
	for range mostJobs {
		last = s.mustBegin(t, "alice", "")
		s.end(last, result{})
	}
	all := s.list("alice")
	if len(all) != mostJobs || all[0] != last || s.find("alice", first.id) != nil || s.find("bob", bobs.id) != bobs {
		t.Errorf("%d jobs", len(all))
	}
	if len(s.byID) != mostJobs+1 || len(s.byKey) != 0 {
		t.Errorf("%d jobs and %d keys are kept", len(s.byID), len(s.byKey))
	}
}
