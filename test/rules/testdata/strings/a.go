package a

// TODO: later. // found
// FIXME as well // found
// a mastodon is none

const path = "/work/shared" // found
