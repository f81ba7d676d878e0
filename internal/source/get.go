package source

import (
	"context"
	"net/http"
	"net/url"
)

// Get asks an allowed host for something that is no image. The caller closes the body.
func (c *Client) Get(ctx context.Context, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	return c.http.Do(req)
}
