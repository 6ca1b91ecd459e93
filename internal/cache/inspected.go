package cache

import "context"

// Inspected says which files were inspected and found valid under the limits, by the digest of their bytes.
// Invalid files are not remembered: a later reader may support them.
func (c *Cache) Inspected(ctx context.Context, digests []string, limits string) ([]bool, error) {
	marks, err := recall(ctx, c, "inspections", &c.inspections, digests, inspectedKey(limits), func([]byte) (*struct{}, error) {
		return &struct{}{}, nil
	})
	good := make([]bool, len(digests))
	for i, m := range marks {
		good[i] = m != nil
	}
	return good, err
}

// RememberInspected records that files are valid under the limits.
func (c *Cache) RememberInspected(ctx context.Context, digests []string, limits string) error {
	marks := make(map[string]struct{}, len(digests))
	for _, d := range digests {
		marks[d] = struct{}{}
	}
	return keep(ctx, c, "inspections", marks, inspectedKey(limits), func(struct{}) ([]byte, error) { return []byte{'1'}, nil })
}
