// Package pipeline owns a run from the request to its scores: the connections that it needs, the roles that work in this process,
// the plan, the publishing, the waiting and the end. Commands ask it for runs by typed requests and print what comes of them.
package pipeline
