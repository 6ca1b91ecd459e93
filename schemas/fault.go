package schemas

import (
	"fmt"
)

// Reason is a stable word for why something cannot be done, however often it is tried. It is the last
// token of a dead letter's subject.
type Reason string

// Reasons.
const (
	// ReasonBadMessage: the message does not decode, or breaks the rules of its type.
	ReasonBadMessage Reason = "bad_message"
	// ReasonUnknownKey: no keyring of the worker has the key, or the half of it that is needed. Another worker may.
	ReasonUnknownKey Reason = "unknown_key"
	// ReasonKeyMismatch: the worker's key of that id has another fingerprint.
	ReasonKeyMismatch Reason = "key_mismatch"
	// ReasonBadKey: no worker can do what is asked with this key. The model was not trained with it, has no network for it, or cannot use such a
	// key; or there is a key where none is used, or none where one is needed.
	ReasonBadKey Reason = "bad_key"
	// ReasonUnknownModel: the worker does not have the model.
	ReasonUnknownModel Reason = "unknown_model"
	// ReasonBadModel: the worker has the model, and its files are damaged or no network that can run.
	ReasonBadModel Reason = "bad_model"
	// ReasonBadImage: the image cannot be decoded, or is of a kind or size that is not served.
	ReasonBadImage Reason = "bad_image"
	// ReasonTooLarge: the image is over the limits on bytes or pixels.
	ReasonTooLarge Reason = "too_large"
	// ReasonMissingBlob: the image is not in the blob store (any more).
	ReasonMissingBlob Reason = "missing_blob"
	// ReasonForbidden: the image is outside the folders that the worker's operator allows.
	ReasonForbidden Reason = "forbidden"
	// ReasonStuck: the work did not stop when it was told to.
	ReasonStuck Reason = "stuck"
	// ReasonRetriesExhausted: every permitted try ended without a result.
	ReasonRetriesExhausted Reason = "retries_exhausted"
	// ReasonBadOutput: the network's output is not an image (NaN).
	ReasonBadOutput Reason = "bad_output"
)

// Fault is an error that trying again does not mend. A transient error is any other error.
type Fault struct {
	Reason Reason
	Err    error
}

// Error is the reason and the cause.
func (f *Fault) Error() string { return fmt.Sprintf("%s: %v", f.Reason, f.Err) }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Permanent marks err as a Fault with a reason. It returns nil when err is nil.
func Permanent(reason Reason, err error) error {
	if err == nil {
		return nil
	}
	return &Fault{Reason: reason, Err: err}
}
