package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"stegomq/client"
)

func Example() {
	ctx := context.Background()
	c, err := client.New(client.Config{}) // STEGOMQ_URL and STEGOMQ_TOKEN, or Config{URL: ..., Token: ...}
	if err != nil {
		log.Fatal(err)
	}
	stego, err := c.Embed(ctx, client.Embed{Key: "alice", Cover: client.File("cover.png"), Secret: client.File("secret.png")})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Recover(ctx, client.Recover{Key: "bob", Stego: bytes.NewReader(stego.PNG)})
	if p := new(client.Problem); errors.As(err, &p) {
		fmt.Println(p.Code)
	}
	// Output: refused
}

// Many files are embedded, four at once. They are opened as they are needed.
func ExampleClient_Batch() {
	c, err := client.New(client.Config{})
	if err != nil {
		log.Fatal(err)
	}
	names, n := []string{"cover.png", "nowhere.png", "cover.png"}, 0
	for stego, err := range c.Batch(context.Background(), 4, func(yield func(client.Operation) bool) {
		for _, name := range names {
			if !yield(client.Embed{Key: "alice", Cover: client.File(name), Secret: client.File("secret.png")}) {
				return
			}
		}
	}) {
		if err == nil {
			err = os.WriteFile(fmt.Sprintf("stego-%d.png", n), stego.PNG, 0o600)
		}
		fmt.Println(names[n], err)
		n++
	}
	// Output:
	// cover.png <nil>
	// nowhere.png read the image cover: open nowhere.png: no such file or directory
	// cover.png <nil>
}
