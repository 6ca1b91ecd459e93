package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// form is the body of a request: the operation's images by field, a key and a model.
type form struct {
	key, model string
	images     map[string][]byte
}

// maxWord bounds a field that is not an image, in bytes.
const maxWord = 256

// readForm reads the form of an operation.
func (s *Service) readForm(w http.ResponseWriter, c *call, op schemas.Operation) (*form, *problem) {
	f := &form{}
	words := map[string]*string{"model": &f.model}
	if op.Describe().Key != "" {
		words["key"] = &f.key
	}
	if why := s.readMultipart(w, c, "send the images as multipart/form-data", f, op.Describe().Images, words); why != nil {
		return nil, why
	}
	return f, s.checkForm(f, op)
}

// readMultipart reads a body with images and words of these names, within the limits on bytes and time. send is what the problem of another kind
// of body tells the client.
func (s *Service) readMultipart(w http.ResponseWriter, c *call, send string, f *form, images []string, words map[string]*string) *problem {
	if c.ContentLength > s.cfg.MaxBody {
		return tooLarge(s.cfg.MaxBody)
	}
	c.Body = http.MaxBytesReader(w, c.Body, s.cfg.MaxBody)
	parts, err := c.MultipartReader()
	if err != nil {
		return newProblem(codeMediaType, send)
	}
	return s.inTime(w, func() (err error) {
		f.images, err = readParts(parts, images, words, c.ContentLength)
		return err
	})
}

// inTime reads a body within the limit on time, and returns the problem of a body that cannot be read.
func (s *Service) inTime(w http.ResponseWriter, read func() error) *problem {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(s.cfg.BodyTimeout)); err != nil {
		return ofError(err)
	}
	if err := read(); err != nil {
		return s.ofBody(err)
	}
	// net/http reads on to see whether the client goes away, with the same deadline.
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return ofError(err)
	}
	return nil
}

func tooLarge(limit int64) *problem {
	return newProblem(codeTooLarge, fmt.Sprintf("the body of this request has at most %d bytes", limit))
}

// ofBody is the problem of a body that could not be read.
func (s *Service) ofBody(err error) *problem {
	var large *http.MaxBytesError
	var already *problem
	switch {
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return newProblem(codeSlowBody, fmt.Sprintf("the body must come within %v", s.cfg.BodyTimeout))
	case errors.As(err, &already):
		return already
	}
	return newProblem(codeBadRequest, "the body is not whole, or not of the type that the request says")
}

// readParts reads images and words of these names from a body of size bytes; size is -1 where it is not known. The error of a wrong form is a *problem.
func readParts(parts *multipart.Reader, names []string, words map[string]*string, size int64) (images map[string][]byte, err error) {
	images = make(map[string][]byte)
	var room []byte // for the images that are still to come
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return images, nil
		}
		if err != nil {
			return nil, err
		}
		name := part.FormName()
		word := words[name]
		_, twice := images[name]
		switch {
		case word == nil && !slices.Contains(names, name):
			all := slices.Concat(names, slices.Sorted(maps.Keys(words)))
			return nil, newProblem(codeBadRequest, "there is a field that this form does not have: it has "+strings.Join(all, ", "))
		case twice || word != nil && *word != "":
			return nil, newProblem(codeBadRequest, "the field "+name+" is there twice")
		case word == nil:
			if room == nil {
				// It has the size of the body, and so never has to grow. All images share it: a small one takes no more than it needs.
				room = make([]byte, 0, max(size, 0)+bytes.MinRead)
			}
			image := bytes.NewBuffer(room)
			_, err = image.ReadFrom(part)
			data := image.Bytes()
			images[name], room = slices.Clip(data), data[len(data):]
		default:
			var text []byte
			text, err = io.ReadAll(io.LimitReader(part, maxWord+1))
			*word = string(text)
			if len(text) > maxWord {
				return nil, newProblem(codeBadRequest, fmt.Sprintf("the field %s has more than %d bytes", name, maxWord))
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// checkForm finds what a form lacks, and refuses images whose headers already show that they cannot be used.
func (s *Service) checkForm(f *form, op schemas.Operation) *problem {
	if f.key == "" && op.Describe().Key != "" {
		return newProblem(codeBadRequest, "the field key is missing: GET /v1/keys lists yours")
	}
	for _, name := range op.Describe().Images {
		data, ok := f.images[name]
		if !ok {
			return newProblem(codeBadRequest, "the field "+name+" is missing: send an image")
		}
		if why := checkImage(name, data, s.cfg.Images); why != nil {
			return why
		}
	}
	return nil
}

// checkImage finds what the header of an image shows to be wrong.
func checkImage(name string, data []byte, limits pixel.Limits) *problem {
	_, err := pixel.Header(data, limits)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pixel.ErrTooManyBytes), errors.Is(err, pixel.ErrTooManyPixels), errors.Is(err, pixel.ErrTooCostly):
		return newProblem(codeTooLarge, name+": "+err.Error())
	}
	return newProblem(codeBadImage, name+": "+err.Error())
}

// digest is the SHA-256 of what a form asks for, in hex.
func (f *form) digest(op schemas.Operation) string {
	h := sha256.New()
	for _, name := range op.Describe().Images {
		sum := sha256.Sum256(f.images[name])
		h.Write(sum[:])
	}
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s", op.Token(), f.key, f.model) // never fails
	return hex.EncodeToString(h.Sum(nil))
}
