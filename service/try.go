package service

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"image"
	"net/http"
	"slices"
	"sync"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
	"stegomq/service/page"
)

// tried is one trial on the page: an image hidden in another, and what was recovered from it. Its images are the user's on the message queue, where
// their digests find them.
type tried struct {
	ID         string
	owner      string
	Created    time.Time
	Model, Key string
	embedding  *pipeline.OperationRequest
	images     map[string]string // kind to digest
	refused    map[string]string // kind to why there is none

	Width, Height int
	Warnings      []string
	Scores        []triedScore
}

// triedScore is the comparison of two images of a trial. kind is that of the image below which the page shows it; "": none.
type triedScore struct {
	kind, What      string
	PSNR, SSIM, MAE float64
	Refused         bool
}

// The kinds of images.
const (
	kindCover     = "cover"
	kindSecret    = "secret"
	kindStego     = "stego"
	kindResidual  = "residual"
	kindRecovered = "recovered"
	kindWrong     = "wrong"
)

// tries are the last trials of each user.
type tries struct {
	mu  sync.Mutex
	all map[string][]*tried // by owner, the newest first
}

const mostTries = 20

func newTries() *tries { return &tries{all: make(map[string][]*tried)} }

// of returns the trials of a user, the newest first. It forgets the old ones of everybody.
func (s *tries) of(owner string) []*tried {
	s.mu.Lock()
	defer s.mu.Unlock()
	for owner, list := range s.all {
		list = slices.DeleteFunc(list, func(t *tried) bool { return time.Since(t.Created) > keptFor })
		if s.all[owner] = list; len(list) == 0 {
			delete(s.all, owner)
		}
	}
	return slices.Clone(s.all[owner])
}

func (s *tries) keep(t *tried) {
	before := s.of(t.owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[t.owner] = append([]*tried{t}, before[:min(len(before), mostTries-1)]...)
}

func (s *tries) find(owner, id string) *tried {
	for _, t := range s.of(owner) {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// chooser is a field of the form in which an image is chosen.
type chooser struct {
	Name, Title, Hint, Chosen string
	Samples                   []page.Sample
}

func (s *Service) tryPage(w http.ResponseWriter, c *call) *problem {
	if !c.user.Has(users.Embed) && c.user.Has(users.Evaluate) {
		return see(w, c, "/runs")
	}
	_, mine, why := s.keysOf(c)
	if why != nil {
		return why
	}
	var ids []string
	for _, pair := range mine {
		if c.user.May(users.Embed, pair.ID) {
			ids = append(ids, pair.ID)
		}
	}
	return s.show(w, c, http.StatusOK, "try", page.View{Title: "Try it", Tab: "try", Data: map[string]any{
		"Keys": ids, "Models": s.modelsThat(model.OpEmbed), "Model": s.cfg.DefaultModel(schemas.Operation_OPERATION_EMBED), "Before": s.tries.of(c.owner()),
		"Choosers": []chooser{
			{kindCover, "Cover", "What everybody may see.", "hills", page.Samples}, {kindSecret, "Secret", "What the key reads back. It is brought to the size of the cover.", "sea", page.Samples},
		},
	}})
}

// tryPixels bounds an image on the page: a trial holds three decoded images at once to compare them.
const tryPixels = 4 << 20

// readTry reads the form of the page: two images or the names of samples, a key and a model. A chosen image takes precedence over a sample. Browsers
// send an empty field where no image was chosen.
func (s *Service) readTry(w http.ResponseWriter, c *call) (*form, *problem) {
	f, names := &form{}, schemas.Operation_OPERATION_EMBED.Describe().Images
	var samples [2]string
	words := map[string]*string{"key": &f.key, "model": &f.model, names[0] + "_sample": &samples[0], names[1] + "_sample": &samples[1]}
	if why := s.readMultipart(w, c, "send the form of this page", f, names, words); why != nil {
		return nil, why
	}
	limits := s.cfg.Images
	limits.MaxPixels = min(limits.MaxPixels, tryPixels)
	for i, name := range names {
		if len(f.images[name]) == 0 {
			f.images[name] = page.SamplePNG(samples[i])
		}
		if len(f.images[name]) == 0 {
			return nil, newProblem(codeBadRequest, "choose a "+name+": a sample, or an image of yours")
		}
		if why := checkImage("the "+name, f.images[name], limits); why != nil {
			if why.Code == codeTooLarge {
				why.Detail += " (the page takes up to 4 Mi pixels; the API and the command line take more)"
			}
			return nil, why
		}
	}
	return f, nil
}

// try hides an image, recovers it with the right key and with a wrong one, and shows the images and their scores.
func (s *Service) try(w http.ResponseWriter, c *call) *problem {
	free, why := s.slots.take(c.Context(), c.owner())
	if why != nil {
		return why
	}
	defer free()
	f, why := s.readTry(w, c)
	if why != nil {
		return why
	}
	leave, why := s.showing.take(c.Context(), c.owner())
	if why != nil {
		return why
	}
	defer leave()
	ctx, cancel := context.WithTimeoutCause(c.Context(), s.cfg.Timeout, errTimeout)
	defer cancel()
	t := &tried{
		ID: randomID(), owner: c.owner(), Created: time.Now(), Key: f.key, images: make(map[string]string), refused: make(map[string]string),
	}
	if why := s.hide(ctx, c, t, f); why != nil {
		return why
	}
	s.tries.keep(t)
	return see(w, c, "/try/"+t.ID)
}

func (s *Service) hide(ctx context.Context, c *call, t *tried, f *form) (why *problem) {
	if t.embedding, why = s.request(c, schemas.Operation_OPERATION_EMBED, f); why != nil {
		return why
	}
	t.Model = t.embedding.Model.Name
	r := s.run(ctx, c, t.embedding, f)
	if r.problem != nil {
		return r.problem
	}
	t.images[kindStego], t.Warnings = r.digest, r.warnings
	stego, err := s.decoded(r.output)
	if err != nil {
		return s.away(c, err)
	}
	size := stego.Rect.Size()
	t.Width, t.Height = size.X, size.Y
	geometry := pixel.Geometry{Width: size.X, Height: size.Y, Policy: pixel.Squash}
	cover, why := s.keepFitted(ctx, c, t, kindCover, f.images[kindCover], geometry)
	if why != nil {
		return why
	}
	if why := t.compare(c, kindStego, "stego with cover", cover, stego); why != nil {
		return why
	}
	secret, why := s.keepFitted(ctx, c, t, kindSecret, f.images[kindSecret], geometry)
	if why != nil {
		return why
	}
	if why := t.compare(c, "", "cover with secret", secret, cover); why != nil {
		return why
	}
	stegoForm := &form{key: t.Key, model: t.Model, images: map[string][]byte{kindStego: r.output}}
	if c.user.May(users.Recover, t.Key) {
		req, why := s.request(c, schemas.Operation_OPERATION_RECOVER, stegoForm)
		if why == nil {
			why = s.recoverTry(ctx, c, t, kindRecovered, "recovered with the right key", req, stegoForm, secret)
		}
		if why != nil && why.Code != codeEmbedOnly {
			return why
		}
	}
	if t.images[kindRecovered] == "" && t.refused[kindRecovered] == "" {
		t.refused[kindRecovered] = "with this key you embed, and its owner recovers"
	}
	if pipeline.HasVariants(t.embedding.Model) {
		t.refused[kindWrong] = "the model has no network for other keys"
		return nil
	}
	// A key that nobody has, as a stranger would try one.
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	wrong := &form{key: keyring.RandomID(binary.LittleEndian.Uint64(seed[:]), 0), images: stegoForm.images}
	req := *t.embedding
	req.Operation = schemas.Operation_OPERATION_RECOVER
	return s.recoverTry(ctx, c, t, kindWrong, "recovered with a wrong key", &req, wrong, secret)
}

func (s *Service) decoded(data []byte) (*image.NRGBA, error) {
	m, _, err := pixel.Decode(data, s.cfg.Images)
	return m, err
}

// keepFitted stores an image in the size in which it is compared, and returns it.
func (s *Service) keepFitted(ctx context.Context, c *call, t *tried, kind string, data []byte, g pixel.Geometry) (*image.NRGBA, *problem) {
	m, err := s.decoded(data)
	if err == nil {
		m, err = pixel.Fit(m, g)
	}
	if err != nil {
		return nil, newProblem(codeBadImage, "the "+kind+": "+err.Error())
	}
	if data, err = pixel.EncodePNG(m); err == nil {
		t.images[kind], err = s.Pipeline.Put(ctx, c.user.Name, data)
	}
	if err != nil {
		return nil, s.failed(ctx, c, err).problem
	}
	return m, nil
}

// recoverTry recovers with a key and compares the outcome with the secret. A refusal is an outcome, not an error.
func (s *Service) recoverTry(ctx context.Context, c *call, t *tried, kind, what string, req *pipeline.OperationRequest, f *form, secret *image.NRGBA) *problem {
	r := s.run(ctx, c, req, f)
	switch {
	case r.problem != nil && r.problem.Code == codeRefused:
		t.refused[kind] = "no image comes out"
		t.Scores = append(t.Scores, triedScore{kind: kind, What: what, Refused: true})
		return nil
	case r.problem != nil:
		return r.problem
	}
	t.images[kind] = r.digest
	m, err := s.decoded(r.output)
	if err != nil {
		return s.away(c, err)
	}
	return t.compare(c, kind, what, secret, m)
}

func (t *tried) compare(c *call, kind, what string, reference, test *image.NRGBA) *problem {
	scores, err := quality.Compare(reference, test)
	if err != nil {
		c.log.Warn("two images are not compared", "error", err)
		return newProblem(codeBadImage, "the images are too small to be compared: choose larger ones")
	}
	t.Scores = append(t.Scores, triedScore{kind: kind, What: what, PSNR: scores.PSNR, SSIM: scores.SSIM, MAE: scores.MAE})
	return nil
}

// triedOf returns the trial that a request names.
func (s *Service) triedOf(c *call) (*tried, *problem) {
	t := s.tries.find(c.owner(), c.PathValue("id"))
	if t == nil {
		return nil, newProblem(codeUnknownJob, "there is nothing at this address: a trial is kept for half an hour")
	}
	return t, nil
}

func (s *Service) triedPage(w http.ResponseWriter, c *call) *problem {
	t, why := s.triedOf(c)
	if why != nil {
		return why
	}
	gain, why := gainOf(c)
	if why != nil {
		return why
	}
	pictures := []shown{
		{Title: "Cover", Alt: kindCover}, {Title: "Stego image", Alt: kindStego}, {Title: "Residual", Alt: kindResidual, Note: "stego less cover, made stronger", Residual: true},
		{Title: "Secret", Alt: kindSecret}, {Title: "Recovered with the key", Alt: kindRecovered}, {Title: "Recovered with a wrong key", Alt: kindWrong},
	}
	for i := range pictures {
		one := &pictures[i]
		kind := one.Alt
		one.Alt = "The image: " + one.Title
		if one.Why = t.refused[kind]; one.Why == "" {
			one.URL = "/try/" + t.ID + "/" + kind
		}
		if one.Residual {
			one.URL += fmt.Sprintf("?gain=%d", gain)
		}
		for _, sc := range t.Scores {
			if sc.kind == kind && !sc.Refused {
				one.Note = fmt.Sprintf("%.1f dB, SSIM %.3f", sc.PSNR, sc.SSIM)
			}
		}
	}
	return s.show(w, c, http.StatusOK, "tried", page.View{Title: "Hidden", Tab: "try", Data: struct {
		*tried
		Pictures []shown
		Gain     int
	}{t, pictures, gain}})
}

func (s *Service) triedImage(w http.ResponseWriter, c *call) *problem {
	t, why := s.triedOf(c)
	if why != nil {
		return why
	}
	// A key that was taken away serves nothing, not even what was made before.
	if why := s.checkKey(c, t.embedding, t.Key); why != nil {
		return why
	}
	gain, why := gainOf(c)
	if why != nil {
		return why
	}
	kind := c.PathValue("kind")
	if kind == kindResidual {
		m, err := residual(func(kind string) (*image.NRGBA, error) {
			data, err := s.Pipeline.Output(c.Context(), c.user.Name, t.images[kind])
			if err != nil {
				return nil, err
			}
			return s.decoded(data)
		}, kindCover, kindStego, gain)
		if err != nil {
			return ofOutput(err)
		}
		return s.writePNG(w, c, m)
	}
	digest := t.images[kind]
	if digest == "" {
		return newProblem(codeNotFound, "there is no such image")
	}
	data, err := s.Pipeline.Output(c.Context(), c.user.Name, digest)
	if err != nil {
		return ofOutput(err)
	}
	if c.URL.Query().Get("download") != "" {
		w.Header().Set("Content-Disposition", `attachment; filename="`+kind+`.png"`)
	}
	return answerPNG(w, data)
}

// ofOutput is the problem of an image that could not be read.
func ofOutput(err error) *problem {
	if pipeline.Gone(err) {
		return newProblem(codeImageGone, "the image was kept for its time, and is gone")
	}
	return ofError(err)
}
