package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// ask sends a request with a token, a form where there is one, and gives the answer.
func ask(t *testing.T, method, url, token string, form map[string][]byte) (status int, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, data := range form {
		part, err := w.CreateFormField(name)
		must(t, err)
		_, err = part.Write(data)
		must(t, err)
	}
	must(t, w.Close())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, &b)
	must(t, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, body
}

// A service in one process: its administrator, its users, its end.
func TestHTTP(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.ok("keys", "new", "alice")
	h.ok("keys", "new", "bob")
	h.run("up", "--http", "0.0.0.0:0").wantError(t, 2, "--http-cert")
	h.run("up", "--http", "127.0.0.1:0", "--http-in-flight", "-1").wantError(t, 2, "--http-in-flight")
	h.run("serve").wantError(t, 2, "--nats")
	h.run("serve", "--http", "", "--nats", closedPort("nats"), "--redis", closedPort("redis")).wantError(t, 2, "--http")

	// One model needs no runtime library.
	must(t, os.CopyFS(h.path("models", "sealed"), os.DirFS(shippedModels()+"/sealed")))
	embedded := []string{"up", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0", "--models", h.path("models"), "--log-level", "info"}
	up := h.start(append(embedded, "--http", "127.0.0.1:0")...)
	url := up.await(`HTTP at (http://\S+)`)[1]
	admin := up.await(`token (stegomq_\S+) `)[1]
	ready := up.await(`ready: --nats (\S+) --redis (\S+)`)
	if !strings.HasPrefix(string(read(t, h.path("state", "stegomq", "admin-token"))), admin) {
		t.Error("the administrator's token is not in its file")
	}

	alice := strings.TrimSpace(h.ok("users", "add", "alice", "--key", "alice").stdout)
	bob := strings.TrimSpace(h.ok("users", "add", "bob", "--embed-for", "alice", "--scope", "embed").stdout)
	h.run("users", "add", "carol", "--key", "alice").wantError(t, 2, "alice's", "--embed-for")
	h.run("users", "add", "carol", "--key", "alise").wantError(t, 2, "stegomq keys new alise")
	h.run("users", "add", "carol", "--scope", "root").wantError(t, 2, "admin")
	h.run("users", "add", "carol", "--expires", "-1h").wantError(t, 2, "--expires")
	month := func() string { return time.Now().UTC().Add(48 * time.Hour).Format("2006-01-") }
	before := month()
	h.ok("users", "add", "dave", "--expires", "48h")
	if list := h.ok("users", "list").stdout; !strings.Contains(list, before) && !strings.Contains(list, month()) {
		t.Errorf("users list:\n%s", list)
	}
	list := h.ok("users", "list").stdout + h.ok("users", "list", "--json").stdout
	if strings.Contains(list, "sha256") || strings.Count(list, "bob") != 2 || strings.Count(list, "admin") < 2 {
		t.Errorf("users list:\n%s", list)
	}

	form := map[string][]byte{"key": []byte("alice"), "cover": encodePNG(t, picture(1, 90, 70)), "secret": encodePNG(t, picture(2, 90, 70))}
	for user, token := range map[string]string{"alice": alice, "bob": bob, "admin": admin} {
		status, stego := ask(t, http.MethodPost, url+"/v1/embed", token, form)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", user, status, stego)
		}
		status, body := ask(t, http.MethodPost, url+"/v1/recover", token, map[string][]byte{"key": []byte("alice"), "stego": stego})
		if want := map[string]int{"alice": 200, "bob": 403, "admin": 200}[user]; status != want {
			t.Errorf("%s recovers: %d %s", user, status, body)
		}
	}

	// Another front of the same pipeline, on the same state folder, has the same users.
	front := h.start("serve", "--http", "127.0.0.1:0", "--models", h.path("models"), "--nats", ready[1], "--redis", ready[2])
	other := front.await(`HTTP at (http://\S+)`)[1]
	front.await(`ready`)
	status, body := ask(t, http.MethodGet, other+"/v1/keys", alice, nil)
	var keys struct{ Keys []struct{ ID string } }
	if err := json.Unmarshal(body, &keys); status != 200 || err != nil || len(keys.Keys) != 1 || keys.Keys[0].ID != "alice" {
		t.Errorf("keys: %d %s", status, body)
	}
	if status, body := ask(t, http.MethodPost, other+"/v1/embed", alice, form); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	front.terminate()

	h.ok("users", "revoke", "bob")
	h.run("users", "revoke", "bob").wantError(t, 2, "bob")
	if status, _ := ask(t, http.MethodGet, url+"/v1/keys", bob, nil); status != http.StatusUnauthorized {
		t.Errorf("a revoked token: %d", status)
	}
	up.terminate()
	if strings.Contains(up.log.String(), alice) || strings.Contains(front.log.String(), "token") {
		t.Error("a token is in what was printed")
	}

	again := h.start(append(embedded, "--http", "127.0.0.1:0")...)
	url = again.await(`HTTP at (http://\S+)`)[1]
	again.await(`ready`)
	if status, _ := ask(t, http.MethodGet, url+"/v1/keys", admin, nil); status != 200 || strings.Contains(again.log.String(), "token") {
		t.Errorf("the administrator is let in with %d, or the token is printed again:\n%s", status, again.log)
	}
	again.terminate()
}
