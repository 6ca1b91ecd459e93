package producer

import (
	"context"
	"fmt"
	"image"

	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/schemas"
)

// lowPSNR is the PSNR, in dB, below which a warning says that the secret comes back badly. The worst of 48 pairs of training photographs is at 21.4 dB with the
// invertible-mk of digest eb086aff0a50 (256x256; median 27.3), and at 26.8 dB with sealed.
const lowPSNR = 20

// echo is the correlation of the recovered and the stego image from which on the two are taken for the same image. Measured on training
// photographs: where a network shows the cover to a wrong key it is 0.977 to 0.997 (48 images of invertible-mk; 0.939 to 0.988, 20 of
// pusnet-mk). Where nothing is hidden it is 0.99 at the median (48 images of invertible-mk; two are below 0.9 and are not noticed). A true
// secret and a stego image are two photographs: any two of 1,007 have at most 0.89, in 506,521 pairs, and 0.73 in all but one of 10,000.
// A random key of pusnet-mk is not noticed: it gives -0.37 to 0.48 (20 images).
const echo = 0.9

// prepareVerification finds the key that will recover what a request embeds, where it is to be verified. With the embedding half of a key
// alone nothing is verified.
func (s *Stream) prepareVerification(p *pending) error {
	if s.Recovers == nil || s.cfg.Operation != schemas.Operation_OPERATION_EMBED {
		return nil
	}
	key, err := s.Recovers(p.Key)
	if err != nil && s.cfg.MinPSNR > 0 {
		return schemas.Permanent(schemas.ReasonUnknownKey, fmt.Errorf("what is hidden cannot be recovered here to see how well it comes back (--min-psnr): %w", err))
	}
	p.recovers = key
	return nil
}

// verification is the job that recovers what was embedded.
func (s *Stream) verification(p pending) *schemas.Job {
	item := &schemas.Item{Id: p.job.GetItems()[0].GetId(), Stego: schemas.BlobRef(p.embedded.GetOutput().GetImage(), "the stego image")}
	job := s.job(schemas.Operation_OPERATION_RECOVER, &schemas.Geometry{Resize: s.cfg.Geometry.GetResize()}, item)
	job.Key = p.recovers
	job.Id = schemas.JobID(job)
	return job
}

// verify compares what was recovered with the secret, and says whether the stego image may be written; the reply has why not, or a warning.
func (s *Stream) verify(ctx context.Context, p pending, recovered *schemas.Outcome, reply *Reply) bool {
	if !ended(recovered, reply) {
		what := "what was hidden could not be recovered to see how well it comes back: " + reply.Error
		if s.cfg.MinPSNR > 0 {
			reply.Error = what
			return false
		}
		reply.Reason, reply.Error = "", ""
		reply.Warnings = append(reply.Warnings, what)
		return true
	}
	psnr, err := s.recoveredPSNR(ctx, p, recovered)
	if err != nil {
		reply.Reason, reply.Error = notWritten, err.Error()
		return false
	}
	reply.RecoveredPSNR = psnr
	what := fmt.Sprintf("the secret comes back at %.1f dB", psnr)
	const instead = "another cover, with fewer areas that are quite dark or bright, or another model may hide it better"
	switch {
	case psnr < s.cfg.MinPSNR:
		reply.Reason, reply.Error = LowPSNR, fmt.Sprintf("%s, and --min-psnr asks for %g: nothing was written; %s", what, s.cfg.MinPSNR, instead)
		return false
	case psnr < lowPSNR:
		reply.Warnings = append(reply.Warnings, fmt.Sprintf("%s, which is bad: look at it before you use the stego image; %s", what, instead))
	}
	return true
}

func (s *Stream) recoveredPSNR(ctx context.Context, p pending, recovered *schemas.Outcome) (float64, error) {
	data, err := s.Blobs.Get(ctx, recovered.GetOutput().GetImage())
	if err != nil {
		return 0, fmt.Errorf("fetch what was recovered: %w", err)
	}
	test, secret, err := s.side(ctx, data, p.job.GetItems()[0].GetSecret())
	if err != nil {
		return 0, fmt.Errorf("verify: %w", err)
	}
	return quality.PSNR(secret, test)
}

// echoes says whether what was recovered is the stego image again. What cannot be compared is not.
func (s *Stream) echoes(ctx context.Context, p pending, recovered []byte) bool {
	out, stego, err := s.side(ctx, recovered, p.job.GetItems()[0].GetStego())
	if err != nil {
		return false
	}
	r, err := quality.Correlation(out, stego)
	return err == nil && r >= echo
}

// side decodes an output, and an image that a request named, brought to the output's size as workers bring it.
func (s *Stream) side(ctx context.Context, output []byte, ref *schemas.ImageRef) (out, other *image.NRGBA, err error) {
	if out, _, err = pixel.Decode(output, pixel.Limits{MinSide: 1}); err != nil {
		return nil, nil, err
	}
	data := ref.GetInline()
	if len(data) == 0 {
		if data, err = s.Blobs.Get(ctx, ref.GetDigest()); err != nil {
			return nil, nil, err
		}
	}
	if other, _, err = pixel.Decode(data, s.cfg.Limits); err != nil {
		return nil, nil, err
	}
	g := pixel.Geometry{Width: out.Rect.Dx(), Height: out.Rect.Dy(), Policy: pixel.Squash}
	if s.cfg.Geometry.GetResize() == schemas.ResizePolicy_RESIZE_POLICY_CROP {
		g.Policy = pixel.Crop
	}
	other, err = pixel.Fit(other, g)
	return out, other, err
}
