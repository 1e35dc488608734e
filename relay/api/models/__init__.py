"""What is asked and answered, as pydantic models: the one source of validation and of the OpenAPI document."""
