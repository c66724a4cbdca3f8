-- The words of a text, as texts are compared: case, line breaks, spaces and punctuation are gone, letters and digits stay,
-- and so do signs of arithmetic, each a word of its own: 5-3 is not 5+3, and 12+34 is 12 + 34. Not covered: other
-- spellings of a number, synonyms, and writing without spaces, where a whole sentence counts as one word.
create or replace macro words(text) as
regexp_extract_all(
    regexp_replace(regexp_replace(regexp_replace(
        lower(nfc_normalize(text)),
        '([\p{N})]\s*)[-–]', '\1−', 'g'), '([\p{N})]\s*)[*·]', '\1×', 'g'), '([\p{N})]\s*)/', '\1÷', 'g'),
    '[\p{L}\p{M}\p{N}]+|\p{Sm}');
