package bench

import "context"

func (b *bench) measureAccept(context.Context) error  { return nil }
func (b *bench) measureLatency(context.Context) error { return nil }
