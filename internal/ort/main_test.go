package ort

import (
	"testing"

	"stegomq/internal/testrig/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
