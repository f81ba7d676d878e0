package station

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"github.com/google/renameio/v2"
)

// maxReceipts is how many receipts are kept; older ones go.
const maxReceipts = 20

// receiptList is the JSON of GET /receipts, and of the file they are kept in.
type receiptList struct {
	Receipts []*receipt `json:"receipts"` // newest first
}

// receiptsPath is the file beside the state file; "" for none.
func (o Options) receiptsPath() string {
	if o.StatePath == "" {
		return ""
	}
	return strings.TrimSuffix(o.StatePath, ".json") + "-receipts.json"
}

// listReceipts answers GET /receipts: what the last successful writes left.
func (s *Server) listReceipts(_ *active, w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	list := receiptList{append([]*receipt{}, s.receipts...)} // never null
	s.mu.Unlock()
	reply(w, http.StatusOK, list)
	return nil
}

// lastReceipt returns the newest receipt; nil if there is none.
func (s *Server) lastReceipt() *receipt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.receipts) == 0 {
		return nil
	}
	return s.receipts[0]
}

// keep adds a receipt to the list, and stores the list. As with the job's state, a failure
// to store is logged and nothing more.
func (s *Server) keep(r *receipt) {
	s.mu.Lock()
	list := append([]*receipt{r}, s.receipts...)
	s.receipts = list[:min(len(list), maxReceipts)]
	list = s.receipts
	s.mu.Unlock()
	path := s.opt.receiptsPath()
	if path == "" {
		return
	}
	b, err := json.Marshal(receiptList{list})
	if err == nil {
		err = renameio.WriteFile(path, b, 0o600, renameio.WithStaticPermissions(0o600))
	}
	if err != nil {
		s.opt.Logf("the receipts cannot be stored in %s: %v", path, err)
	}
}

// restoreReceipts reads what keep has stored before a restart.
func (s *Server) restoreReceipts() []*receipt {
	path := s.opt.receiptsPath()
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var list receiptList
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		s.opt.Logf("the file of receipts %s is of no use: %v", path, err)
		return nil
	}
	var out []*receipt
	for _, r := range list.Receipts {
		if r != nil && r.Receipt != nil && len(out) < maxReceipts { // a file that somebody else wrote
			out = append(out, r)
		}
	}
	return out
}
