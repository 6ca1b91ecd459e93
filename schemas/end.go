package schemas

// End says how an item, or a comparison, ended. Its words are stable: they stand in files and replies.
type End string

// The ends.
const (
	// EndNone: there is no end, or more than one. A message with it is not valid.
	EndNone End = ""
	// EndDone: there is an output, or there are metrics.
	EndDone End = "done"
	// EndRefused: recovery is authenticated and refused the image, because of its key or because it was changed.
	EndRefused End = "refused"
	// EndFailed: there is a failure.
	EndFailed End = "failed"
)

// End is the one end of the outcome.
func (x *Outcome) End() End {
	return endOf(x.GetOutput() != nil, x.GetRefusal() != nil, x.GetFailure() != nil)
}

// End is the one end of the score.
func (x *Score) End() End {
	return endOf(x.GetMetrics() != nil, x.GetRefusal() != nil, x.GetFailure() != nil)
}

func endOf(done, refused, failed bool) End {
	switch [3]bool{done, refused, failed} {
	case [3]bool{true, false, false}:
		return EndDone
	case [3]bool{false, true, false}:
		return EndRefused
	case [3]bool{false, false, true}:
		return EndFailed
	}
	return EndNone
}
