package pipeline

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/evaluator"
	"stegomq/internal/queueadmin"
	"stegomq/schemas"
)

// DeadFilter selects dead letters; its zero value all of them.
type DeadFilter struct {
	Reason schemas.Reason
	Run    string
	// Limit is the largest number of letters, the oldest ones; 0: no limit.
	Limit int
}

// DeadRow is a dead letter in a list, as JSON too.
type DeadRow struct {
	Number     uint64    `json:"number"`
	Died       time.Time `json:"died"`
	Reason     string    `json:"reason"`
	Subject    string    `json:"subject"`
	Deliveries uint64    `json:"deliveries"`
	Detail     string    `json:"detail"`
}

// DeadRows lists dead letters, the oldest first.
func DeadRows(ctx context.Context, q *queueadmin.Admin, f DeadFilter) ([]DeadRow, error) {
	entries, err := DeadLetters(ctx, q, f)
	rows := make([]DeadRow, len(entries))
	for i, e := range entries {
		l := e.Letter
		rows[i] = DeadRow{e.Seq, time.UnixMilli(l.GetDiedAt()), l.GetReason(), l.GetSubject(), l.GetDeliveries(), l.GetDetail()}
	}
	return rows, err
}

// DeadLetter gives a dead letter without its message, and the message: a job or a result; nil where it is neither.
func DeadLetter(ctx context.Context, q *queueadmin.Admin, number uint64) (letter *schemas.DeadLetter, message proto.Message, data []byte, err error) {
	if letter, err = q.GetDead(ctx, number); err != nil {
		return nil, nil, nil, err
	}
	data = letter.GetMessage()
	letter.Message = nil
	if job, err := schemas.DecodeJob(data); err == nil {
		return letter, job, data, nil
	}
	if result, err := schemas.DecodeResult(data); err == nil {
		return letter, result, data, nil
	}
	return letter, nil, data, nil
}

// DeadLetters lists dead letters, the oldest first.
func DeadLetters(ctx context.Context, q *queueadmin.Admin, f DeadFilter) ([]queueadmin.DeadEntry, error) {
	if f.Run == "" {
		return q.ListDead(ctx, f.Reason, f.Limit)
	}
	all, err := q.ListDead(ctx, f.Reason, 0)
	var list []queueadmin.DeadEntry
	for _, d := range all {
		if job, _, err := evaluator.LostTo(d.Letter); err == nil && job.GetRun() == f.Run && (f.Limit == 0 || len(list) < f.Limit) {
			list = append(list, d)
		}
	}
	return list, err
}
