"""Pages that people open: server-rendered, bilingual, working without scripts; data through GraphQL only."""
