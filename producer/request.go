package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// Request is one line of a stream: a job of one item. Embed takes key, cover and secret; recover takes key
// and stego; purify takes image. Paths are of files on this machine; Out is written whole or not at all. Of a single request "-" is
// standard input, as one of the images, or standard output.
type Request struct {
	// ID comes back with the reply. The line's number when empty.
	ID     string `json:"id"`
	Key    string `json:"key,omitempty"`
	Cover  string `json:"cover,omitempty"`
	Secret string `json:"secret,omitempty"`
	Stego  string `json:"stego,omitempty"`
	Image  string `json:"image,omitempty"`
	Out    string `json:"out"`
}

// Reply is one line per request, in order of completion.
type Reply struct {
	ID     string `json:"id"`
	OK     bool   `json:"ok"`
	Out    string `json:"out,omitempty"`
	Digest string `json:"digest,omitempty"`
	// RecoveredPSNR is how well the secret of an embed request comes back, in dB, where that was verified.
	RecoveredPSNR float64 `json:"recovered_psnr,omitempty"`
	// Warnings are lines for people.
	Warnings []string `json:"warnings,omitempty"`
	// Reason is a stable word when OK is false, a schemas.Reason, "refused" (schemas.EndRefused), LowPSNR or "output" where it cannot be written, Error a line for people.
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Why a single request failed, beside what is said.
var (
	// ErrRequest: it cannot be one.
	ErrRequest = errors.New("not a request")
	// ErrRefused: recovery is authenticated, and refused the image.
	ErrRefused = errors.New("refused")
	// ErrLowPSNR: the secret comes back worse than it has to.
	ErrLowPSNR = errors.New("low PSNR")
	// ErrFailed is everything else.
	ErrFailed = errors.New("the request failed")
)

// Err is why a request failed; nil if it did not.
func (r Reply) Err() error {
	switch {
	case r.OK:
		return nil
	case r.Reason == string(schemas.ReasonBadMessage):
		return fmt.Errorf("%w: %s", ErrRequest, r.Error)
	case r.Reason == string(schemas.EndRefused):
		return fmt.Errorf("%w: %s", ErrRefused, r.Error)
	case r.Reason == LowPSNR:
		return fmt.Errorf("%w: %s", ErrLowPSNR, r.Error)
	}
	return fmt.Errorf("%w: %s: %s", ErrFailed, r.Reason, r.Error)
}

// LowPSNR is the reason of an embed request whose secret comes back worse than it has to.
const LowPSNR = "low_psnr"

// notWritten is the reason of a request whose output cannot be fetched or written.
const notWritten = "output"

// standard is the name of standard input and output.
const standard = "-"

// input is an image that a request names.
type input struct{ name, path string }

// inputs are the images that an operation takes.
func (r *Request) inputs(op schemas.Operation) []input {
	paths := map[string]string{"cover": r.Cover, "secret": r.Secret, "stego": r.Stego, "image": r.Image}
	var all []input
	for _, name := range op.Describe().Images {
		all = append(all, input{name, paths[name]})
	}
	return all
}

// Check finds what is wrong with the names in a request, before any file is looked at. The text begins with the name of a field.
func (r *Request) Check(op schemas.Operation) error {
	if r.Out == "" {
		return errors.New("out is missing: name the file to write")
	}
	if ext := extension(r.Out); extensions[ext] && ext != ".png" {
		return fmt.Errorf("output %s: PNG is what is written, as other formats may change what is hidden: give the file a name that ends in .png", r.Out)
	}
	fromStdin := ""
	for _, in := range r.inputs(op) {
		switch {
		case in.path == "":
			return fmt.Errorf("%s is missing: name the image file", in.name)
		case in.path == standard && fromStdin != "":
			return fmt.Errorf("%s -: standard input is the %s already", in.name, fromStdin)
		case in.path == standard:
			fromStdin = in.name
		}
	}
	return nil
}

// prepare makes the job of a request. What the requester can mend is a *schemas.Fault.
func (s *Stream) prepare(ctx context.Context, r Request) (pending, error) {
	p := pending{Request: r}
	op := s.cfg.Operation
	if err := r.Check(op); err != nil {
		return p, schemas.Permanent(schemas.ReasonBadMessage, err)
	}
	if r.Out == standard && s.cfg.Stdout == nil {
		return p, schemas.Permanent(schemas.ReasonBadMessage, errors.New("out -: standard output has the replies: name a file"))
	}
	// Now, and not when the image is made.
	if info, err := os.Stat(filepath.Dir(r.Out)); err != nil || !info.IsDir() {
		return p, schemas.Permanent(notWritten, fmt.Errorf("output %s: there is no folder %s: make it first", r.Out, filepath.Dir(r.Out)))
	}
	if info, err := os.Stat(r.Out); r.Out != standard && err == nil && info.IsDir() {
		return p, schemas.Permanent(notWritten, fmt.Errorf("output %s: it is a folder: name a PNG file in it", r.Out))
	}
	inputs := r.inputs(op)
	files := make([][]byte, len(inputs))
	total := 0
	for i, in := range inputs {
		data, err := s.read(in)
		if err != nil {
			return p, err
		}
		if warning := s.warning(in, data); warning != "" {
			p.warnings = append(p.warnings, warning)
		}
		files[i] = data
		total += len(data)
	}
	item, err := s.item(ctx, files, total <= schemas.MaxInline)
	if err != nil {
		return p, err
	}
	for _, in := range inputs {
		item.Ref(in.name).Name = in.label()
	}
	item.Id = itemID(r.ID)
	p.job = s.job(op, s.cfg.Geometry, item)
	if op.Describe().Key != "" {
		key, err := s.Key(r.Key)
		if err != nil {
			return p, schemas.Permanent(schemas.ReasonUnknownKey, err)
		}
		p.job.Key = key
	}
	p.job.Id = schemas.JobID(p.job)
	if err := p.job.Validate(); err != nil {
		return p, schemas.Permanent(schemas.ReasonBadMessage, err)
	}
	return p, s.prepareVerification(&p)
}

// job is one of this stream, without a key and an id.
func (s *Stream) job(op schemas.Operation, g *schemas.Geometry, items ...*schemas.Item) *schemas.Job {
	return &schemas.Job{Run: s.cfg.Run, Tenant: s.cfg.Tenant, Operation: op, Model: s.cfg.Model, Geometry: g, Items: items}
}

// itemID names the one item of a request's job. The requester may call the request anything.
func itemID(request string) string {
	if schemas.ValidItemID(request) {
		return request
	}
	return "request"
}

// label is what messages call an image.
func (in input) label() string {
	if in.path == standard {
		return "standard input"
	}
	return filepath.Base(in.path)
}

// read gives the bytes of an image file that has a whole header and is within the limits.
func (s *Stream) read(in input) ([]byte, error) {
	var data []byte
	var err error
	switch {
	case s.cfg.Images != nil:
		data = s.cfg.Images[in.name]
	case in.path != standard:
		data, err = File{Path: in.path}.Read(s.cfg.Limits.MaxBytes)
	case s.cfg.Stdin == nil:
		return nil, schemas.Permanent(schemas.ReasonBadMessage, fmt.Errorf("%s -: standard input has the requests: name a file", in.name))
	default:
		data, err = readStandard(s.cfg.Stdin, s.cfg.Limits.MaxBytes)
	}
	if err == nil {
		_, err = pixel.Header(data, s.cfg.Limits)
	}
	if err != nil {
		reason := schemas.ReasonBadImage
		if errors.Is(err, pixel.ErrTooManyBytes) || errors.Is(err, pixel.ErrTooManyPixels) || errors.Is(err, pixel.ErrTooCostly) {
			reason = schemas.ReasonTooLarge
		}
		return nil, schemas.Permanent(reason, fmt.Errorf("%s %s: %s", in.name, in.path, reasonOf(err)))
	}
	return data, nil
}

// readStandard reads to the end, and at most one byte over the limit: package pixel says that it is one.
func readStandard(in io.Reader, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = pixel.DefaultMaxBytes
	}
	return io.ReadAll(io.LimitReader(in, limit+1))
}

// warning says what happened, or will happen, to the pixels of an image, where its owner may not expect it; otherwise it is empty.
func (s *Stream) warning(in input, data []byte) string {
	if s.cfg.Operation == schemas.Operation_OPERATION_RECOVER {
		loss := pixel.LossOf(data)
		if loss == "" || loss == pixel.LossJPEG && s.cfg.SurvivesJPEG {
			return ""
		}
		end := "cannot have survived"
		if s.cfg.SurvivesJPEG { // of a lossy WebP of quality 90 21 dB come back, and of a palette 19
			end = "has suffered"
		}
		return fmt.Sprintf("%s %s is %s: writing it changed the pixels, and what was hidden in them %s; recover from the PNG file that embed wrote",
			in.name, in.label(), loss, end)
	}
	// Whether a pixel is transparent only the pixels tell. What is wrong with them the worker says.
	if !pixel.MayBeTransparent(data) {
		return ""
	}
	if info, err := pixel.Inspect(data, s.cfg.Limits); err != nil || !info.Transparent {
		return ""
	}
	return fmt.Sprintf("%s %s has transparent pixels: they are laid on white, and what is written is opaque", in.name, in.label())
}
