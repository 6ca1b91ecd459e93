package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/link"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// reasonUnknown replaces a reason that cannot be a token of a subject.
const reasonUnknown schemas.Reason = "unknown"

// maxDetail bounds the text of a dead letter, and the subject in it, in bytes: so that they fit into what link.MaxMessage leaves. No job has so long a
// subject.
const maxDetail = 1 << 10

// publishDead stores a dead letter for the message with a sequence number in its stream. If the message is too large for a letter around it,
// which no message of this package is, the letter holds its beginning.
func (b *Bus) publishDead(ctx context.Context, letter *schemas.DeadLetter, sequence uint64) (err error) {
	reason := schemas.Reason(letter.Reason)
	if !schemas.ValidRunID(letter.Reason) { // the same form
		reason = reasonUnknown
		letter.Reason = string(reason)
	}
	letter.DiedAt = time.Now().UnixMilli()
	letter.Detail = letter.Detail[:min(len(letter.Detail), maxDetail)]
	letter.Subject = letter.Subject[:min(len(letter.Subject), maxDetail)]
	if limit := int(b.link.MaxMessage()); len(letter.Message) > limit {
		letter.Detail = fmt.Sprintf("(%d of %d bytes kept) %s", limit, len(letter.Message), letter.Detail)
		letter.Message = letter.Message[:limit]
	}
	// Nobody checks that the subject of a tenant's message is text, and a letter can hold only text.
	letter.Detail, letter.Subject = strings.ToValidUTF8(letter.Detail, "?"), strings.ToValidUTF8(letter.Subject, "?")
	data, err := schemas.Encode(letter)
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	id := fmt.Sprintf("dead-%s-%d", letter.Stream, sequence)
	subject := schemas.DeadSubject(reason)
	ctx, span, header := tracing.Publish(ctx, "publish dead letter", subject)
	span.Text("stegomq.reason", string(reason))
	defer func() { span.End(err) }()
	if err := b.link.Once(ctx, link.Message{Subject: subject, ID: id, Header: header, Data: data}); err != nil {
		return fmt.Errorf("publish dead letter: %w", err)
	}
	return nil
}

// tellOfDeath publishes a result in which every item failed, for whoever waits for the result of an unscored job. (Evaluators read dead
// letters themselves.) A job that came on a wrong subject belongs to nobody.
func (b *Bus) tellOfDeath(ctx context.Context, m *delivery, letter *schemas.DeadLetter) error {
	job, err := schemas.DecodeJob(m.Data)
	if err != nil || job.GetScore() || schemas.JobSubject(job) != m.Subject {
		return nil //nolint:nilerr // nobody to tell
	}
	result := &schemas.Result{Job: job.WithoutInline()}
	detail := letter.GetDetail()
	if job.GetTenant() != "" && letter.GetReason() == string(schemas.ReasonUnknownKey) {
		// What a worker says of its keyring may name the keys of others, count them, or name files. The letter has it.
		detail = fmt.Sprintf("no worker can use the key %q for this: it has no such key, or not the half that is needed; ask the operator", job.GetKey().GetId())
	}
	for _, item := range job.GetItems() {
		failure := &schemas.Failure{Reason: letter.GetReason(), Detail: detail}
		result.Outcomes = append(result.Outcomes, &schemas.Outcome{Item: item.GetId(), Failure: failure})
	}
	data, err := schemas.Encode(result)
	if err == nil && int64(len(data)) > b.link.MaxMessage() {
		// The names of images may be long. Whoever waits knows the items by their ids.
		for i, item := range result.GetJob().GetItems() {
			result.Job.Items[i] = &schemas.Item{Id: item.GetId()}
		}
		data, err = schemas.Encode(result)
	}
	if err != nil {
		return fmt.Errorf("result of a dead job: %w", err)
	}
	id := fmt.Sprintf("dead-result-%s-%d", letter.GetStream(), m.meta.Sequence.Stream)
	subject := schemas.ResultSubject(result)
	ctx, span, header := tracing.Publish(ctx, "publish result", subject)
	err = b.link.Once(ctx, link.Message{Subject: subject, ID: id, Header: header, Data: data})
	span.End(err)
	if errors.Is(err, nats.ErrMaxPayload) {
		b.log.Warn("the result of a dead job does not fit into a message: nobody is told", "subject", subject)
		return nil
	}
	if tenant := job.GetTenant(); tenant != "" && b.link.Gone(ctx, schemas.ResultStream(tenant), err) {
		return nil
	}
	return err
}

// buryForeign turns messages in a queue into dead letters if their subject is one that no job has.
func (b *Bus) buryForeign(ctx context.Context, stream jetstream.Stream, subject string) error {
	name := stream.CachedInfo().Config.Name
	return b.link.Scan(ctx, name, subject, func(m *link.Stored) bool {
		letter := &schemas.DeadLetter{
			Reason: string(schemas.ReasonBadMessage), Detail: "no job has this subject", Stream: name, Subject: subject, Message: m.Data,
		}
		err := b.publishDead(ctx, letter, m.Seq)
		if err == nil {
			err = stream.DeleteMsg(ctx, m.Seq)
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			b.log.Warn("a message that nobody reads stays where it is", "subject", subject, "err", err)
		}
		return true
	})
}
