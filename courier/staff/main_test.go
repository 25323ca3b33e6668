package staff

import (
	"testing"

	"emsd/migrations/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
