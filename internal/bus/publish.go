package bus

import (
	"context"
	"fmt"

	"stegomq/internal/link"
	"stegomq/internal/streams"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// PublishJob stores a job in the queue of its class and returns when the server has confirmed it. While the queue is full, or the server
// away, it waits until ctx ends. For a follow-up a full queue is ErrQueueFull instead: its publisher holds a job, which must not wait for
// its own kind. A job that the queue took within the last two minutes (by schemas.MsgID) is not stored again; that is not an error.
// link.ErrTooLarge names the limit.
func (b *Bus) PublishJob(ctx context.Context, job *schemas.Job) (err error) {
	data, err := schemas.Encode(job)
	if err != nil {
		return fmt.Errorf("publish job %s: %w", job.GetId(), err)
	}
	m := link.Message{Subject: schemas.JobSubject(job), ID: schemas.MsgID(job), Data: data}
	ctx, span, header := tracing.Publish(ctx, "publish job", m.Subject)
	span.Job(job)
	m.Header = header
	defer func() { span.End(err) }()
	if schemas.JobClass(job) == schemas.FollowUpClass {
		m.Full = ErrQueueFull
	}
	if err := b.publishJob(ctx, job, m); err != nil {
		return fmt.Errorf("publish job %s: %w", job.GetId(), err)
	}
	return nil
}

// publishJob publishes the message of a job if it fits into a queue, after making sure that the job has a consumer.
func (b *Bus) publishJob(ctx context.Context, job *schemas.Job, m link.Message) error {
	lane := streams.Lane{Class: schemas.JobClass(job), Model: job.GetModel()}
	m.Prepare = func(ctx context.Context) error {
		if limit := b.streams.QueueBytes(); int64(len(m.Data)) > limit {
			return fmt.Errorf("%w: the message has %d bytes, a queue holds %d in all", link.ErrTooLarge, len(m.Data), limit)
		}
		return b.streams.Publishable(ctx, lane)
	}
	return b.link.Publish(ctx, m)
}

// PublishResult stores a result, like PublishJob. For a tenant who is gone it is link.ErrNoStream.
func (b *Bus) PublishResult(ctx context.Context, result *schemas.Result) (err error) {
	subject := schemas.ResultSubject(result)
	ctx, span, header := tracing.Publish(ctx, "publish result", subject)
	defer func() { span.End(err) }()
	data, err := schemas.Encode(result)
	m := link.Message{Subject: subject, ID: schemas.ResultMsgID(result), Header: header, Data: data}
	if tenant := result.GetJob().GetTenant(); tenant != "" {
		m.OfTenant = schemas.ResultStream(tenant)
	}
	if err == nil {
		err = b.link.Publish(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("publish the result of job %s: %w", result.GetJob().GetId(), err)
	}
	return nil
}

// Republish stores an encoded job or result on its subject again, as a new message with an id. from is the message that kept it, whose trace
// is continued (tracing.Resend). It waits for room like PublishJob. A message on a wrong subject is ErrBadFilter.
func (b *Bus) Republish(ctx context.Context, subject, id string, data []byte, from tracing.Message) (err error) {
	span, header := tracing.Resend(ctx, "retry dead letter", subject, from)
	defer func() { span.End(err) }()
	m := link.Message{Subject: subject, ID: id, Header: header, Data: data}
	if job, err := schemas.DecodeJob(data); err == nil && schemas.JobSubject(job) == subject {
		return b.publishJob(ctx, job, m)
	}
	if result, err := schemas.DecodeResult(data); err == nil && schemas.ResultSubject(result) == subject {
		return b.link.Publish(ctx, m)
	}
	return fmt.Errorf("%w: what came from %q would die again", ErrBadFilter, subject)
}
