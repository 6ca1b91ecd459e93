package gpuworker_test

import (
	"context"
	"errors"
	"image"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/gpuworker"
	"stegomq/internal/keyring"
	"stegomq/schemas"
)

// keyFile is a keyring that a worker watches, with new pairs.
type keyFile struct {
	t    *testing.T
	path string
	refs map[string]*schemas.KeyRef
}

func newKeyFile(t *testing.T, ids ...string) *keyFile {
	t.Helper()
	f := &keyFile{t: t, path: filepath.Join(t.TempDir(), "keys.json"), refs: make(map[string]*schemas.KeyRef)}
	for _, id := range ids {
		pair, err := keyring.Generate(id, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		f.update(func(k *keyring.Keyring) error { return k.Add(pair) })
		f.refs[id] = &schemas.KeyRef{Id: id, Fingerprint: pair.Fingerprint()}
	}
	return f
}

func (f *keyFile) update(change func(*keyring.Keyring) error) {
	f.t.Helper()
	if err := keyring.Update(f.path, keyring.Protection{}, change); err != nil {
		f.t.Fatal(err)
	}
}

// newKeyedRig is a rig whose worker has the keys of a file.
func newKeyedRig(t *testing.T, f *keyFile) *rig {
	t.Helper()
	r := newRig(t)
	keys, err := keyring.Watch(keyring.Protection{}, f.path)
	if err != nil {
		t.Fatal(err)
	}
	r.engine = &watchedEngine{Engine: tiny.NetworkWith(keys)}
	r.parts.Engine = r.engine
	return r
}

// dies wants a dead letter of a job, and no result.
func (r *rig) dies(job *schemas.Job, reason schemas.Reason) {
	r.t.Helper()
	r.publish(seal(job))
	results, dead := r.await(job.GetRun(), 1)
	if len(results) > 0 {
		r.t.Errorf("%s: a result came: %v", job.GetRun(), results[0].GetOutcomes())
	} else if atOnce := reason != schemas.ReasonUnknownKey; dead[0].GetReason() != string(reason) || atOnce && dead[0].GetDeliveries() != 1 {
		r.t.Errorf("%s: it died of %s after %d deliveries, want %s, at once where no other worker may have the key", job.GetRun(), dead[0].GetReason(), dead[0].GetDeliveries(), reason)
	}
}

// TestWhatWasMadeIsBehindTheKey: the names of a key give nothing of what was made with it, and nor does the key itself once it is taken out
// of the file.
func TestWhatWasMadeIsBehindTheKey(t *testing.T) {
	t.Parallel()
	keys := newKeyFile(t, "alice", "bob")
	r := newKeyedRig(t, keys)
	r.work(gpuworker.Config{})
	again := func(job *schemas.Job, run string, key *schemas.KeyRef) *schemas.Job {
		job = proto.CloneOf(job)
		job.Run, job.Key = run, key
		return job
	}
	alice := keys.refs["alice"]
	embed := r.embedJob(square, squares(2)...)
	embed.Key = alice
	r.publish(seal(embed))
	stego := outputs(t, r.result("run"))
	recov := &schemas.Job{Run: "recover", Operation: schemas.Operation_OPERATION_RECOVER, Model: tiny.Digest, Key: alice, Geometry: square}
	for i, item := range embed.GetItems() {
		recov.Items = append(recov.Items, &schemas.Item{Id: item.GetId(), Stego: schemas.BlobRef(stego[i], "")})
	}
	r.publish(seal(recov))
	outputs(t, r.result("recover"))

	made := len(r.engine.runs())
	for name, job := range map[string]*schemas.Job{"embed": embed, "recover": recov} {
		r.publish(seal(again(job, name+"-cached", alice)))
		for _, o := range r.result(name + "-cached").GetOutcomes() {
			if !o.GetCached() {
				t.Errorf("%s: an output is not remembered, so that this test shows nothing", name)
			}
		}
		r.dies(again(job, name+"-bob", &schemas.KeyRef{Id: "bob", Fingerprint: alice.GetFingerprint()}), schemas.ReasonKeyMismatch)
		r.dies(again(job, name+"-nobody", &schemas.KeyRef{Id: "nobody", Fingerprint: alice.GetFingerprint()}), schemas.ReasonUnknownKey)
	}
	keys.update(func(k *keyring.Keyring) error { return k.Remove("alice") })
	for name, job := range map[string]*schemas.Job{"embed": embed, "recover": recov} {
		r.dies(again(job, name+"-revoked", alice), schemas.ReasonUnknownKey)
	}
	if n := len(r.engine.runs()); n != made {
		t.Errorf("the network ran %d times more", n-made)
	}
	// Others go on.
	other := again(embed, "others", keys.refs["bob"])
	r.publish(seal(other))
	outputs(t, r.result("others"))
}

// unread is a source of images that must not be asked.
type unread struct{ t *testing.T }

func (u unread) Image(_ context.Context, ref *schemas.ImageRef, _ *schemas.Geometry) (*image.NRGBA, error) {
	u.t.Errorf("%s was read", ref.GetUri())
	return nil, schemas.Permanent(schemas.ReasonMissingBlob, errors.New("not there"))
}

func (unread) Keep(context.Context, string, []byte, *image.NRGBA) {}

// TestNothingIsReadForAStranger: a job of a key that is not here does not say which images there are.
func TestNothingIsReadForAStranger(t *testing.T) {
	t.Parallel()
	r := newKeyedRig(t, newKeyFile(t, "alice"))
	r.parts.Images = unread{t}
	r.work(gpuworker.Config{})
	job := r.embedJob(square, squares(2)...)
	job.Key = &schemas.KeyRef{Id: "eve", Fingerprint: sha(nil)[:32]}
	job.Items[0].Cover = schemas.BlobRef(sha([]byte("not there")), "")
	job.Items[1].Secret.Uri = "file:///etc/hostname"
	r.dies(job, schemas.ReasonUnknownKey)
}
