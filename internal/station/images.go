package station

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// imagesTimeout is how long the image server may take to answer with its list.
	imagesTimeout = 10 * time.Second
	// maxImages is the largest list of images in bytes.
	maxImages = 4 << 20
)

// listedImage is an image of the server's list.
type listedImage struct {
	Name   string `json:"name"`
	URL    string `json:"url"` // absolute
	Size   int64  `json:"size,omitempty"`
	Format string `json:"format,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // of the decompressed image, where that is known
}

// imageList is the JSON of GET /images.
type imageList struct {
	Images  []listedImage `json:"images"`
	Message string        `json:"message,omitempty"` // why there are none
}

// listImages answers GET /images with the list of the server that the config came from.
// A browser could not ask that server itself: it is another origin.
func (s *Server) listImages(a *active, w http.ResponseWriter, r *http.Request) error {
	if s.opt.ConfigURL == "" {
		reply(w, http.StatusOK, imageList{Images: []listedImage{}, Message: "The station's config came from a file, so it knows no server to ask for a list; give an image's URL"})
		return nil
	}
	from, err := url.Parse(s.opt.ConfigURL)
	if err != nil {
		return fmt.Errorf("the config URL: %w", err)
	}
	from = &url.URL{Scheme: from.Scheme, Host: from.Host, Path: "/api/images"}
	if err := a.source.Check(from); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), imagesTimeout)
	defer cancel()
	images, err := s.fetchImages(ctx, a, from)
	if err != nil {
		return &httpError{http.StatusBadGateway, fmt.Sprintf("the list of images at %s cannot be had: %v; give an image's URL", from, err)}
	}
	reply(w, http.StatusOK, imageList{Images: images})
	return nil
}

func (s *Server) fetchImages(ctx context.Context, a *active, from *url.URL) ([]listedImage, error) {
	resp, err := a.source.Get(ctx, from)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	var list struct{ Images []listedImage }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxImages)).Decode(&list); err != nil {
		return nil, fmt.Errorf("the answer is not the JSON of a list: %w", err)
	}
	out := []listedImage{}
	for _, image := range list.Images {
		if image.Name == "" {
			continue
		}
		path := image.URL
		if path == "" {
			path = "/api/images/download/" + url.PathEscape(image.Name)
		}
		u, err := from.Parse(path)
		if err != nil || a.source.Check(u) != nil {
			continue // an image that could not be written from here
		}
		image.URL = u.String()
		if image.Format != "raw" {
			image.SHA256 = "" // the server's is that of the file, not of what is in it
		}
		out = append(out, image)
	}
	return out, nil
}
