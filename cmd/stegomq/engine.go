package main

import (
	"os"
	"strconv"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/pipeline"
)

// protection opens encrypted keyrings.
func (a *app) protection() keyring.Protection {
	return keyring.Protection{Passphrase: os.Getenv(passphraseEnv), IdentityFile: a.keyringIdentity}
}

// library has the models and the keys that the flags name.
func (a *app) library() *pipeline.Library {
	return &pipeline.Library{Folders: a.models, Keyrings: a.keyringFiles(), Protection: a.protection(), Logger: a.log}
}

// keyringFiles are the user's keyrings: those named, or the default one when it is there.
func (a *app) keyringFiles() []string {
	if len(a.keyrings) > 0 {
		return a.keyrings
	}
	if path := defaultKeyring(); path != "" {
		if _, err := os.Stat(path); err == nil {
			return []string{path}
		}
	}
	return nil
}

// registeredKeys are those of the keyring file that --keys names, or as many of the model's demo keys as it says.
func (a *app) registeredKeys(keys string, m *model.Model) ([]keyring.Pair, error) {
	if n, err := strconv.Atoi(keys); err == nil {
		return a.library().DemoKeys(m, n)
	}
	return a.library().RegisteredKeys(m, keys)
}

// The models of commands that are not told another: what measures a network, and what embeds and recovers for a user, whose
// own key it takes.
const (
	defaultModel = "invertible-mk"
	sealedModel  = "sealed"
)

func (a *app) loadModel(nameOrDir string) (*model.Model, error) { return a.library().Model(nameOrDir) }
