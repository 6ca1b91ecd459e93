package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"iter"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Operation is what is done with images: Embed, Recover or Purify. Its readers are read to their end once, before the first try. Readers that
// are an io.Closer are closed after that.
type Operation interface{ form() form }

// Embed hides Secret in Cover with the key of an id. Model is one of the service's; empty: its default. IdempotencyKey has 1 to 255 visible ASCII
// characters; empty: one is drawn. Give one where the request must be done once even if this process ends and another repeats it.
type Embed struct {
	Key            string
	Cover, Secret  io.Reader
	Model          string
	IdempotencyKey string
}

// Recover reads the secret out of a stego image. Model and IdempotencyKey are as for Embed.
type Recover struct {
	Key            string
	Stego          io.Reader
	Model          string
	IdempotencyKey string
}

// Purify takes noise off an image. Model and IdempotencyKey are as for Embed.
type Purify struct {
	Image          io.Reader
	Model          string
	IdempotencyKey string
}

func (e Embed) form() form {
	return form{"embed", e.Key, e.Model, e.IdempotencyKey, []part{{"cover", e.Cover}, {"secret", e.Secret}}}
}

func (r Recover) form() form {
	return form{"recover", r.Key, r.Model, r.IdempotencyKey, []part{{"stego", r.Stego}}}
}

func (p Purify) form() form {
	return form{"purify", "", p.Model, p.IdempotencyKey, []part{{"image", p.Image}}}
}

// form is an operation as it is sent.
type form struct {
	name, key, model, idempotency string
	images                        []part
}

type part struct {
	field string
	r     io.Reader
}

// call reads the images and makes the request.
func (f form) call() (call, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, image := range f.images {
		if err := image.write(w); err != nil {
			return call{}, fmt.Errorf("read the image %s: %w", image.field, err)
		}
	}
	for _, word := range [][2]string{{"key", f.key}, {"model", f.model}} {
		if word[1] != "" {
			_ = w.WriteField(word[0], word[1]) // into memory
		}
	}
	_ = w.Close()
	header := http.Header{"Content-Type": {w.FormDataContentType()}, "Idempotency-Key": {cmp.Or(f.idempotency, rand.Text())}}
	return call{method: http.MethodPost, path: "/v1/" + f.name, body: body.String(), header: header}, nil
}

func (p part) write(w *multipart.Writer) error {
	if p.r == nil {
		return errors.New("there is none")
	}
	to, err := w.CreateFormFile(p.field, p.field)
	if err == nil {
		_, err = io.Copy(to, p.r)
	}
	if closer, ok := p.r.(io.Closer); ok {
		_ = closer.Close() // it was only read
	}
	return err
}

// PNG reads as the PNG file of an image, without loss for samples of 8 or 16 bits.
func PNG(m image.Image) io.Reader {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return broken{err}
	}
	return &b
}

// File reads as the file of a path. The file is opened at the first read.
func File(path string) io.Reader { return &file{path: path} }

type file struct {
	path   string
	opened *os.File
}

func (f *file) Read(b []byte) (_ int, err error) {
	if f.opened == nil {
		if f.opened, err = os.Open(f.path); err != nil {
			return 0, err
		}
	}
	return f.opened.Read(b)
}

// Close closes the file if it was opened.
func (f *file) Close() error {
	if f.opened == nil {
		return nil
	}
	return f.opened.Close()
}

// broken is a reader that returns an error.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// Image is the outcome of an operation.
type Image struct {
	// PNG is the file as it was answered.
	PNG []byte
	// Warnings say what may not be as expected, such as a stego image that was saved as JPEG.
	Warnings []string
}

// Decode returns the pixels.
func (i *Image) Decode() (image.Image, error) { return png.Decode(bytes.NewReader(i.PNG)) }

// image sends a call that is answered with an image.
func (c *Client) image(ctx context.Context, what call) (*Image, error) {
	header, body, err := c.send(ctx, what)
	if err != nil {
		return nil, err
	}
	if kind := header.Get("Content-Type"); kind != "image/png" {
		return nil, fmt.Errorf("%w: it has the type %q", errForeign, kind)
	}
	return &Image{body, header.Values("Stegomq-Warning")}, nil
}

// Embed hides a secret in a cover. Keep the stego image in a lossless format.
func (c *Client) Embed(ctx context.Context, what Embed) (*Image, error) { return c.Do(ctx, what) }

// Recover reads the secret out of a stego image. The problem Refused says that the key is another one, or that the image was changed.
func (c *Client) Recover(ctx context.Context, what Recover) (*Image, error) { return c.Do(ctx, what) }

// Purify takes noise off an image.
func (c *Client) Purify(ctx context.Context, what Purify) (*Image, error) { return c.Do(ctx, what) }

// Do does an operation, and waits for its image.
func (c *Client) Do(ctx context.Context, what Operation) (*Image, error) {
	request, err := what.form().call()
	if err != nil {
		return nil, err
	}
	return c.image(ctx, request)
}

// Batch does operations, n at once (at least 1), and yields the outcome of each, in their order. It takes operations as it needs them. An operation
// that fails does not end the batch. To stop reading, or to end the context, ends the operations under way.
func (c *Client) Batch(ctx context.Context, n int, operations iter.Seq[Operation]) iter.Seq2[*Image, error] {
	type result struct {
		image *Image
		err   error
	}
	return func(yield func(*Image, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var running []chan result // oldest first
		defer func() {
			cancel()
			for _, r := range running {
				<-r
			}
		}()
		oldest := func() bool {
			r := <-running[0]
			running = running[1:]
			return yield(r.image, r.err)
		}
		for one := range operations {
			if len(running) >= max(n, 1) && !oldest() {
				return
			}
			done := make(chan result, 1)
			running = append(running, done)
			go func() {
				image, err := c.Do(ctx, one)
				done <- result{image, err}
			}()
		}
		for len(running) > 0 && oldest() {
		}
	}
}

// State is the state of a job, or of a run.
type State string

// The states of a job.
const (
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
)

// Job is an operation that the service does while nobody waits for it. The process that took it keeps it for half an hour.
type Job struct {
	ID        string    `json:"id"`
	Operation string    `json:"operation"`
	State     State     `json:"state"`
	Created   time.Time `json:"created"`
	Warnings  []string  `json:"warnings"`
	// Problem is why a job failed.
	Problem *Problem `json:"problem"`
}

// Start begins an operation and does not wait for it: Wait does.
func (c *Client) Start(ctx context.Context, what Operation) (*Job, error) {
	request, err := what.form().call()
	if err != nil {
		return nil, err
	}
	request.header.Set("Prefer", "respond-async")
	job, _, err := ask[Job](ctx, c, request)
	return job, err
}

// Job returns a job of the user's.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	job, _, err := ask[Job](ctx, c, getJob(id))
	return job, err
}

func getJob(id string) call {
	return call{method: http.MethodGet, path: "/v1/jobs/" + url.PathEscape(id)}
}

// Wait asks for a job, as often as the service says, until the job has ended. It returns the image, or the problem that the job ended with.
func (c *Client) Wait(ctx context.Context, id string) (*Image, error) {
	get := getJob(id)
	for {
		job, header, err := ask[Job](ctx, c, get)
		if err != nil {
			return nil, err
		}
		switch {
		case job.Problem != nil:
			return nil, job.Problem
		case job.State != Running:
			get.path += "/output"
			return c.image(ctx, get)
		}
		if err := sleep(ctx, max(retryAfter(header), firstPause)); err != nil {
			return nil, err
		}
	}
}

// Jobs returns the user's jobs, the newest first.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) { return list[Job](ctx, c, "jobs") }

// Key is a key of the user's. The key itself never leaves the service.
type Key struct {
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"`
	// Allows has embed, recover or both.
	Allows []string `json:"allows"`
}

// Keys returns the user's keys.
func (c *Client) Keys(ctx context.Context) ([]Key, error) { return list[Key](ctx, c, "keys") }

// Model is a model of the service.
type Model struct {
	Name       string   `json:"name"`
	Digest     string   `json:"digest"`
	Keying     string   `json:"keying"`
	Operations []string `json:"operations"`
	Trained    bool     `json:"trained"`
	// Keys are the ids of the user's keys that the model works with.
	Keys []string `json:"keys"`
	// DefaultFor has the operations for which this is the default model.
	DefaultFor []string `json:"default_for"`
}

// Models returns the models of the service.
func (c *Client) Models(ctx context.Context) ([]Model, error) { return list[Model](ctx, c, "models") }
