// Command imager writes operating system images to a Raspberry Pi's own disks when asked over HTTP.
package main

func main() {}
