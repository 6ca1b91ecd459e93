package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples are what the help of each command shows. A test parses every line.
var examples = map[string]string{
	"access grant":   "stegomq access grant alice --key alice --nats nats://host:4222",
	"access show":    "stegomq access show alice --json",
	"access revoke":  "stegomq access revoke alice",
	"audit":          "stegomq audit --model invertible-mk --data photos/ --size 128 --out audit/",
	"audit public":   "stegomq audit public --model modulo --images results/images",
	"bench":          "stegomq bench --operation embed --rate 20 --keys 4 --json report.json",
	"bench sweep":    "stegomq bench sweep --operation recover --p99 200ms",
	"bench compare":  "stegomq bench compare before.json after.json",
	"context add":    "STEGOMQ_NATS=nats://stegomq:PASSWORD@host:4222 STEGOMQ_REDIS=rediss://:PASSWORD@host:6379 stegomq context add prod --nats-ca ca.pem --redis-ca ca.pem --use",
	"context list":   "stegomq context list",
	"context remove": "stegomq context remove prod",
	"context use":    "stegomq context use prod",
	"dead list":      "stegomq dead list --reason bad_image --json | jq '.[].number'",
	"dead show":      "stegomq dead show 7",
	"dead retry":     "stegomq dead retry --run run-0123456789abcdef",
	"dead drop":      "stegomq dead drop 7 8",
	"doctor":         "stegomq doctor\nstegomq doctor --context prod --json | jq -r '.findings[] | select(.level != \"fine\") | .text'",
	"embed":          "stegomq embed --key alice --cover c.jpg --secret s.jpg -o stego.png\nstegomq embed --stream < requests.jsonl",
	"evaluate":       "stegomq evaluate --data photos/ --keys 4 --size 256 --out results/\nstegomq evaluate --data photos/ --keys demo-1,demo-3 --dry-run\nstegomq evaluate --data photos/ --json | jq .recoverability.psnr.mean",
	"evaluator":      "stegomq evaluator --nats nats://127.0.0.1:4222 --redis redis://127.0.0.1:6379",
	"gpuworker":      "stegomq gpuworker --keyring keys.json --metrics :9100 --context prod",
	"keys new":       "stegomq keys new alice",
	"keys list":      "stegomq keys list --json | jq -r '.[].id'",
	"keys show":      "stegomq keys show alice",
	"keys public":    "stegomq keys public alice > alice.json",
	"keys import":    "stegomq keys import alice.json",
	"keys export":    "stegomq keys export alice -o alice-backup.json",
	"keys delete":    "stegomq keys delete alice --yes",
	"models list":    "stegomq models list",
	"models verify":  "stegomq models verify invertible-mk",
	"models enroll":  "stegomq models enroll invertible-mk --key alice --data photographs/ --out models/invertible-mk-5",
	"models import":  "stegomq models import checkpoint_3000.pt --out models/mine",
	"paper":          "stegomq paper --data ImageNet=photos/ --size 256 --out report/",
	"producer":       "stegomq producer --data photos/ --keys 4 --context prod",
	"purify":         "stegomq purify noisy.png -o clean.png",
	"recover":        "stegomq recover --key alice --stego stego.png -o secret.png",
	"report":         "stegomq report run-0123456789abcdef --out results/",
	"report compare": "stegomq report compare results-a/ results-b/",
	"report table":   "stegomq report table --markdown results-a/ results-b/",
	"runs list":      "stegomq runs list --json | jq -r '.[] | select(.state == \"finished\") | .run'",
	"runs show":      "stegomq runs show run-0123456789abcdef",
	"runs cancel":    "stegomq runs cancel run-0123456789abcdef",
	"runs rm":        "stegomq runs rm run-0123456789abcdef",
	"serve":          "stegomq serve --context prod --http 127.0.0.1:8080",
	"tail":           "stegomq tail --json 'dead.>' | jq .message.reason",
	"up":             "stegomq up --http 127.0.0.1:8080",
	"users add":      "stegomq users add alice --key alice\nstegomq users add bob --embed-for alice --scope embed      # bob embeds for alice, and recovers nothing",
	"users list":     "stegomq users list",
	"users revoke":   "stegomq users revoke alice",
	"version":        "stegomq version",
	"watch":          "stegomq watch $(stegomq producer --data photos/ --context prod) --context prod",
}

// addExamples gives every command its example.
func addExamples(root *cobra.Command) {
	for path, text := range examples {
		cmd, _, err := root.Find(strings.Fields(path))
		must(err)
		cmd.Example = "  " + strings.ReplaceAll(text, "\n", "\n  ")
	}
}
