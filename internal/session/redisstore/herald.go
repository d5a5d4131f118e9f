package redisstore

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// quiet is how long the same is not said again.
const quiet = time.Minute

// herald logs what concerns the operator, each message once a minute at most. Messages
// are constants, so that it does not have to remember many.
type herald struct {
	log *slog.Logger
	mu  sync.Mutex
	at  map[string]time.Time
}

func (h *herald) say(level slog.Level, message string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last, said := h.at[message]; said && time.Since(last) < quiet {
		return
	}
	h.at[message] = time.Now()
	h.log.Log(context.Background(), level, message, args...)
}
