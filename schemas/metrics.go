package schemas

// Value is a metric by its name in files, as "psnr"; false where it was not measured.
func (x *Metrics) Value(name string) (v float64, measured bool) {
	if of := x.field(name); of != nil {
		return *of, true
	}
	v, measured = x.GetMore()[name]
	return v, measured
}

// Set notes a metric by its name in files.
func (x *Metrics) Set(name string, v float64) {
	if of := x.field(name); of != nil {
		*of = v
		return
	}
	if x.More == nil {
		x.More = make(map[string]float64)
	}
	x.More[name] = v
}

// field is where one of the first four lies, nil for another and without metrics.
func (x *Metrics) field(name string) *float64 {
	if x == nil {
		return nil
	}
	return map[string]*float64{"psnr": &x.Psnr, "ssim": &x.Ssim, "mae": &x.Mae, "rmse": &x.Rmse}[name]
}
