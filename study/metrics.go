package study

// ByMetric has a value for each metric: those that every run has, and the others by name.
type ByMetric[T any] struct {
	PSNR T `json:"psnr"`
	SSIM T `json:"ssim"`
	MAE  T `json:"mae"`
	RMSE T `json:"rmse"`
	// More are the metrics that the run asked for beyond these.
	More map[string]T `json:"more,omitempty"`
}

func (b *ByMetric[T]) field(name string) *T {
	return map[string]*T{"psnr": &b.PSNR, "ssim": &b.SSIM, "mae": &b.MAE, "rmse": &b.RMSE}[name]
}

// Metric is the value of a metric; false where there is none.
func (b *ByMetric[T]) Metric(name string) (T, bool) {
	if of := b.field(name); of != nil {
		return *of, true
	}
	v, there := b.More[name]
	return v, there
}

func (b *ByMetric[T]) set(name string, v T) {
	if of := b.field(name); of != nil {
		*of = v
		return
	}
	if b.More == nil {
		b.More = make(map[string]T)
	}
	b.More[name] = v
}
